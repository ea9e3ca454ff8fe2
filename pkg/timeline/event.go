package timeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
)

// Kinds of events that are no kinds of journal entries.
const (
	KindVersion  = "version"
	KindRollback = "rollback" // a version with the content of an older one
	KindDelete   = "delete"   // a version that deletes the dataset
	KindDamaged  = "damaged"
)

// Event is something that happened to a dataset. Exactly one of Version, Entry, Damaged and Unknown is set.
type Event struct {
	Dataset string
	// Time is the time of the event. A damaged record has the time of the event before it.
	Time    time.Time
	Version *dataset.VersionRecord
	Entry   *dataset.Entry
	// Damaged is a record that cannot be read.
	Damaged *Damage
	// Unknown is an event of a later release, as a CloudEvents message.
	Unknown json.RawMessage
}

// Damage describes a damaged version record or journal entry.
type Damage struct {
	Dataset string `json:"dataset"`
	// Version or Entry is the number of the record; the other is zero.
	Version uint64 `json:"version,omitempty"`
	Entry   uint64 `json:"entry,omitempty"`
	// Detail says what is wrong, where the record is, and what to do.
	Detail string `json:"detail"`
}

// Kind returns the kind of the event: KindVersion, KindRollback, KindDelete, KindDamaged, the kind of a journal entry, or empty for an event of a later
// release.
func (e Event) Kind() string {
	switch {
	case e.Version != nil && e.Version.Deleted:
		return KindDelete
	case e.Version != nil && e.Version.Restores.Version > 0:
		return KindRollback
	case e.Version != nil:
		return KindVersion
	case e.Entry != nil:
		return e.Entry.Kind
	case e.Damaged != nil:
		return KindDamaged
	}
	return ""
}

// number returns the number of the event in its sequence.
func (e Event) number() uint64 {
	switch {
	case e.Version != nil:
		return e.Version.Version
	case e.Entry != nil:
		return e.Entry.Number
	case e.Damaged != nil:
		return max(e.Damaged.Version, e.Damaged.Entry)
	}
	return 0
}

// damagedLine is the line of a damaged record.
type damagedLine struct {
	Damaged *Damage `json:"damaged"`
}

// End is the last line of a stream of events. A stream without it was cut short.
type End struct {
	// Cursor continues after the last event, see [ParseCursor].
	Cursor string `json:"cursor"`
	// More reports that there are more events already: the stream ended at its limit.
	More bool `json:"more"`
}

// Line returns the event as one line of JSON, without the line end: a CloudEvents message, or {"damaged": ...} with a [Damage].
func (e Event) Line() ([]byte, error) {
	switch {
	case e.Version != nil:
		return dataset.EncodeEvent(*e.Version)
	case e.Entry != nil:
		return dataset.EncodeEntryEvent(*e.Entry)
	case e.Damaged != nil:
		return json.Marshal(damagedLine{e.Damaged})
	}
	return e.Unknown, nil
}

// MaxLineBytes bounds a line: the event of the largest version record.
const MaxLineBytes = dataset.MaxRecordBytes + 64<<10

// ErrLine is returned by ParseLine for a line that is not one of a stream of events.
var ErrLine = errors.New("not a line of a stream of events")

// ParseLine returns the event of a line, or the end of the stream, which is nil for an event.
func ParseLine(line []byte) (e Event, end *End, err error) {
	var head struct {
		Type    string    `json:"type"`
		Subject string    `json:"subject"`
		Time    time.Time `json:"time"`
		Damaged *Damage   `json:"damaged"`
		Cursor  *string   `json:"cursor"`
		More    bool      `json:"more"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return Event{}, nil, fmt.Errorf("%w: %w", ErrLine, err)
	}
	switch {
	case head.Cursor != nil:
		return Event{}, &End{Cursor: *head.Cursor, More: head.More}, nil
	case head.Damaged != nil:
		return Event{Dataset: head.Damaged.Dataset, Damaged: head.Damaged}, nil, nil
	case head.Type == dataset.EventType:
		rec, err := dataset.DecodeEvent(line)
		if err != nil {
			return Event{}, nil, fmt.Errorf("%w: %w", ErrLine, err)
		}
		return ofVersion(rec), nil, nil
	case head.Type == dataset.EntryEventType:
		entry, err := dataset.DecodeEntryEvent(line)
		if err != nil {
			return Event{}, nil, fmt.Errorf("%w: %w", ErrLine, err)
		}
		return ofEntry(entry), nil, nil
	case head.Type != "":
		return Event{Dataset: head.Subject, Time: head.Time, Unknown: append(json.RawMessage(nil), line...)}, nil, nil
	}
	return Event{}, nil, fmt.Errorf("%w: %.80q has no type", ErrLine, line)
}

func ofVersion(rec dataset.VersionRecord) Event {
	return Event{Dataset: rec.Dataset, Time: rec.Created, Version: &rec}
}

func ofEntry(e dataset.Entry) Event { return Event{Dataset: e.Dataset, Time: e.Time, Entry: &e} }
