package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// ErrEntry is wrapped by the errors of Entry.Check, Entry.Encode and DecodeEntry.
var ErrEntry = errors.New("not a journal entry")

// EntrySettings is the kind of an entry that changes the settings of a dataset. Its content is a [SettingsChange]. Later releases add
// kinds.
const EntrySettings = "settings"

// Entry is one record of a dataset's journal: what was changed about the dataset that is no version, when, by whom and why. The
// entries of a dataset are numbered 1, 2, 3 ... without gaps, and never change.
//
// The JSON of an entry also has the member "sum", a checksum of the others. A flipped bit at rest is therefore detected, and of two
// entries with one number, as after a restore, each has another sum.
type Entry struct {
	StoreID StoreID `json:"store_id"`
	Dataset string  `json:"dataset"`
	Number  uint64  `json:"number"`
	// Kind is what Content describes, such as [EntrySettings]: 1 to 32 of a-z, 0-9, _ and -.
	Kind string `json:"kind"`
	// Time is the time of the change by the clock of the process that made it. It orders nothing.
	Time time.Time `json:"time"`
	// By is who made the change, as the caller named itself, such as "user@host"; nothing verifies it. Reason is why.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// RequestID is the id of the request that made the change, if it had one: see [CheckRequestID].
	RequestID string `json:"request_id,omitempty"`
	// Content is a JSON object, whose members depend on Kind.
	Content json.RawMessage `json:"content"`

	// Extra holds members of later releases that this release does not define. They are part of the sum.
	Extra map[string]json.RawMessage `json:"-"`
}

// entryMembers lists the members of an entry's JSON that this release defines.
var entryMembers = []string{"sum", "store_id", "dataset", "number", "kind", "time", "by", "reason", "request_id", "content"}

var entryKind = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// ID returns "<dataset>/<number>".
func (e Entry) ID() string { return e.Dataset + "/" + strconv.FormatUint(e.Number, 10) }

// Check returns an error that wraps [ErrEntry] if e is not a valid entry.
func (e Entry) Check() error {
	if err := CheckName(e.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrEntry, e.ID(), err)
	}
	return nil
}

func (e Entry) check() error {
	switch {
	case e.Number == 0:
		return errors.New("entries begin at 1")
	case e.StoreID.IsZero():
		return errors.New("the entry has no store id")
	case !entryKind.MatchString(e.Kind):
		return fmt.Errorf("the kind is %.40q; use 1 to 32 of a-z, 0-9, _ and -", e.Kind)
	case e.Time.IsZero():
		return errors.New("the entry has no time")
	case !json.Valid(e.Content) || bytes.TrimSpace(e.Content)[0] != '{':
		return errors.New("the content is not a JSON object")
	case e.RequestID != "":
		if err := CheckRequestID(e.RequestID); err != nil {
			return err
		}
	}
	return CheckAudit(e.By, e.Reason)
}

// Encode returns e as JSON, the form in the store and in events. It fails if Check does, or if the JSON is longer than MaxEntryBytes.
func (e Entry) Encode() ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	text, err := e.MarshalJSON()
	if err == nil && len(text) > MaxEntryBytes {
		return nil, fmt.Errorf("%w: %s: the entry has %d bytes as JSON, the most is %d", ErrEntry, e.ID(), len(text), MaxEntryBytes)
	}
	return text, err
}

// DecodeEntry decodes and checks an entry. It keeps unknown members in Extra, and refuses an entry whose member "sum" is not the sum of
// its content.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) > MaxEntryBytes {
		return Entry{}, fmt.Errorf("%w: it has %d bytes, the most is %d", ErrEntry, len(b), MaxEntryBytes)
	}
	var e Entry
	if err := e.UnmarshalJSON(b); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if err := e.Check(); err != nil {
		return Entry{}, err
	}
	var named struct {
		Sum string `json:"sum"`
	}
	if err := json.Unmarshal(b, &named); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if sum := e.Sum(); named.Sum != sum {
		return Entry{}, fmt.Errorf("%w: %s: the entry says that its sum is %.80q, its content has the sum %q", ErrEntry, e.ID(), named.Sum, sum)
	}
	return e, nil
}

// Sum returns the checksum of the entry: the first 40 hex digits of the SHA-256 of its other members as compact JSON, sorted by name.
// It is empty for an entry that Check refuses because its content is not JSON.
func (e Entry) Sum() string {
	members, err := e.members()
	if err != nil {
		return ""
	}
	sum, err := sumOf(members)
	if err != nil {
		return ""
	}
	return sum
}

func sumOf(members map[string]json.RawMessage) (string, error) {
	text, err := json.Marshal(members) // sorts the names
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:20]), nil
}

// plainEntry has the fields of an Entry without its methods.
type plainEntry Entry

// members returns the members of the entry's JSON, without the sum.
func (e Entry) members() (map[string]json.RawMessage, error) {
	text, err := json.Marshal(plainEntry(e))
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	for name, value := range e.Extra {
		members[name] = value
	}
	return members, nil
}

// MarshalJSON implements [json.Marshaler]. The members are sorted by name, and include "sum".
func (e Entry) MarshalJSON() ([]byte, error) {
	members, err := e.members()
	if err != nil {
		return nil, err
	}
	sum, err := sumOf(members)
	if err != nil {
		return nil, err
	}
	members["sum"] = json.RawMessage(`"` + sum + `"`)
	return json.Marshal(members)
}

// UnmarshalJSON implements [json.Unmarshaler]. It does not verify the member "sum"; [DecodeEntry] does.
func (e *Entry) UnmarshalJSON(text []byte) error {
	var plain plainEntry
	if err := json.Unmarshal(text, &plain); err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for _, name := range entryMembers {
		delete(members, name)
	}
	if len(members) > 0 {
		plain.Extra = members
	}
	*e = Entry(plain)
	return nil
}
