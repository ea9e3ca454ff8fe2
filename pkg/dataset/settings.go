package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"freshet.dev/pkg/nearest"
)

// ErrSettings is wrapped by the errors of Settings.With and Settings.Check.
var ErrSettings = errors.New("the settings are refused")

// Settings is what a dataset is held to. The zero Settings are those of a dataset for which nothing was set. Later releases add
// settings.
//
// The JSON of Settings is an object with one member for each setting that is set, by the names of [KnownSettings].
type Settings struct {
	Gates Gates
	// Extra holds settings of later releases that this release does not define. It keeps and shows them, and does not apply them.
	Extra map[string]json.RawMessage
}

// Setting describes a setting that this release has.
type Setting struct {
	Name string
	// Default is what holds while it is not set.
	Default string
	// Meaning describes the setting in one line.
	Meaning string

	want string // the values, for an error
	bits int    // of the largest value
}

const (
	wantCount   = "a whole number, 0 or more; 0 is no bound"
	wantPart    = "a whole number of percent, 0 to 100, without a % sign"
	wantPercent = "a whole number of percent, 0 or more, without a % sign"
)

// knownSettings are the settings in the order of tables.
var knownSettings = []Setting{
	{"min_records", "none", "the least records that a version may have", wantCount, 63},
	{"max_records", "none", "the most records that a version may have", wantCount, 63},
	{
		"max_fewer_records_percent", fmt.Sprintf("%d, from %d records", DefaultMaxFewerRecords, GateRecords),
		"how many percent of the records a version may remove, also if it adds as many; 100 allows everything", wantPart, 31,
	},
	{"max_more_records_percent", "none", "how many percent of the records a version may have more than the one before", wantPercent, 31},
	{"max_changed_records_percent", "none", "how many percent of the records a version may change", wantPart, 31},
	{"max_fewer_bytes_percent", "none", "how many percent of the bytes of keys and values a version may have fewer than the one before", wantPart, 31},
	{"max_more_bytes_percent", "none", "how many percent of the bytes of keys and values a version may have more than the one before", wantPercent, 31},
}

// KnownSettings returns the settings that this release has.
func KnownSettings() []Setting { return slices.Clone(knownSettings) }

func settingNames() []string {
	names := make([]string, len(knownSettings))
	for i, k := range knownSettings {
		names[i] = k.Name
	}
	return names
}

// Check returns an error that wraps [ErrSettings] if no version can meet the settings.
func (s Settings) Check() error {
	if err := s.Gates.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return nil
}

// Values returns the settings that are set, by name, as JSON.
func (s Settings) Values() (map[string]json.RawMessage, error) {
	text, err := json.Marshal(s.Gates)
	if err != nil {
		return nil, err
	}
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, err
	}
	maps.Copy(values, s.Extra)
	return values, nil
}

// With returns the settings with changes: new values as JSON, by name. A value of null unsets the setting. With refuses unknown names,
// except to unset a setting of a later release.
func (s Settings) With(changes map[string]json.RawMessage) (Settings, error) {
	values, err := s.Values()
	if err != nil {
		return Settings{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		value := changes[name]
		known := slices.IndexFunc(knownSettings, func(k Setting) bool { return k.Name == name })
		unset := value == nil || string(value) == "null"
		_, has := values[name]
		switch {
		case known < 0 && (!unset || !has):
			return Settings{}, unknownSetting(name)
		case unset:
			delete(values, name)
			continue
		}
		if err := knownSettings[known].check(value); err != nil {
			return Settings{}, err
		}
		values[name] = value
	}
	text, err := json.Marshal(values)
	if err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	var changed Settings
	if err := changed.UnmarshalJSON(text); err != nil {
		return Settings{}, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return changed, changed.Check()
}

func unknownSetting(name string) error {
	names := settingNames()
	hint := nearest.Hint(name, names)
	if hint == "" {
		hint = "; the settings are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: there is no setting %.40q%s", ErrSettings, name, hint)
}

// check returns an error if value is not a value of the setting.
func (k Setting) check(value json.RawMessage) error {
	_, err := strconv.ParseUint(string(value), 10, k.bits) // accepts neither sign nor space
	if err != nil || !json.Valid(value) {
		return fmt.Errorf("%w: %s is %.40s; want %s", ErrSettings, k.Name, value, k.want)
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (s Settings) MarshalJSON() ([]byte, error) {
	values, err := s.Values()
	if err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Settings) UnmarshalJSON(text []byte) error {
	var read Settings
	if err := json.Unmarshal(text, &read.Gates); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &read.Extra); err != nil {
		return err
	}
	for _, name := range settingNames() {
		delete(read.Extra, name)
	}
	if len(read.Extra) == 0 {
		read.Extra = nil
	}
	*s = read
	return nil
}

// SettingsChange is the content of an entry of the kind [EntrySettings].
type SettingsChange struct {
	// Settings are all settings after the change.
	Settings Settings `json:"settings"`
	// Changes has the new value of each setting that was changed, by name; null if it was unset.
	Changes map[string]json.RawMessage `json:"changes"`
}

// SettingsChange returns the content of an entry of the kind [EntrySettings].
func (e Entry) SettingsChange() (SettingsChange, error) {
	if e.Kind != EntrySettings {
		return SettingsChange{}, fmt.Errorf("%w: %s is of the kind %s, not %s", ErrEntry, e.ID(), e.Kind, EntrySettings)
	}
	var c SettingsChange
	if err := json.Unmarshal(e.Content, &c); err != nil {
		return SettingsChange{}, fmt.Errorf("%w: %s: its content is not a change of settings: %w", ErrEntry, e.ID(), err)
	}
	return c, nil
}

// Diff returns the settings in which after differs from s, by name, with their values in after; null for those that after lacks.
func (s Settings) Diff(after Settings) (map[string]json.RawMessage, error) {
	old, err := s.Values()
	if err != nil {
		return nil, err
	}
	values, err := after.Values()
	if err != nil {
		return nil, err
	}
	changes := map[string]json.RawMessage{}
	for name, value := range values {
		if string(old[name]) != string(value) {
			changes[name] = value
		}
	}
	for name := range old {
		if _, ok := values[name]; !ok {
			changes[name] = json.RawMessage("null")
		}
	}
	return changes, nil
}
