package dataset

import (
	"bytes"
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

// Settings is what a dataset is held to, in groups. The zero Settings are those of a dataset for which nothing was set. Later releases add
// settings.
//
// The JSON of Settings is an object with one member for each setting that is set, by the names of [KnownSettings].
type Settings struct {
	Gates Gates
	Input InputRules
	Keep  Retention
	// Extra holds settings of later releases that this release does not define. It keeps and shows them, and does not apply them.
	Extra map[string]json.RawMessage
}

// group is a part of Settings, whose JSON has the members of its settings that are set.
type group interface {
	// Check returns an error that names the member if no version can meet the settings.
	Check() error
}

func (s *Settings) groups() []group { return []group{&s.Gates, &s.Input, &s.Keep} }

// Setting describes a setting that this release has.
type Setting struct {
	Name string
	// Default is what holds while it is not set.
	Default string
	// Meaning describes the setting in one line.
	Meaning string

	// want describes the values, for an error; ok reports whether a value is one of them.
	want string
	ok   func(value json.RawMessage) bool
}

// knownSettings are the settings in the order of tables.
var knownSettings = slices.Concat(gateSettings, inputSettings, keepSettings)

// whole returns a check for whole numbers of that many bits. It accepts neither sign nor space.
func whole(bits int) func(json.RawMessage) bool {
	return func(value json.RawMessage) bool {
		_, err := strconv.ParseUint(string(value), 10, bits)
		return err == nil && json.Valid(value)
	}
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
	for _, g := range s.groups() {
		if err := g.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrSettings, err)
		}
	}
	return nil
}

// Values returns the settings that are set, by name, as JSON.
func (s Settings) Values() (map[string]json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	for _, g := range s.groups() {
		text, err := json.Marshal(g)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &values); err != nil { // adds to values
			return nil, err
		}
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
	if !k.ok(value) {
		var shown bytes.Buffer // on one line
		if json.Compact(&shown, value) != nil {
			shown.Reset()
			fmt.Fprintf(&shown, "%q", value)
		}
		return fmt.Errorf("%w: %s is %.40s; want %s", ErrSettings, k.Name, &shown, k.want)
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
	for _, g := range read.groups() {
		if err := json.Unmarshal(text, g); err != nil {
			return err
		}
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
