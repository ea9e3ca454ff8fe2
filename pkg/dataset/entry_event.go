package dataset

import (
	"fmt"
	"strconv"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// EntryEventType is the CloudEvents type of the event that carries a journal entry. journal.schema.json is its JSON Schema (draft
// 2020-12).
const EntryEventType = "dev.freshet.dataset.journal.v1"

// EncodeEntryEvent returns the event that carries e, in the JSON format of CloudEvents 1.0. Its data is e, and its id is
// "<dataset>/journal/<number>".
func EncodeEntryEvent(e Entry) ([]byte, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	event := cloudevents.New(cloudevents.CloudEventsVersionV1)
	event.SetID(e.eventID())
	event.SetSource(storeSource + e.StoreID.String())
	event.SetType(EntryEventType)
	event.SetSubject(e.Dataset)
	event.SetTime(e.Time)
	event.SetDataContentType(cloudevents.ApplicationJSON)
	event.DataEncoded = data
	return event.MarshalJSON()
}

// DecodeEntryEvent returns the entry that the event b carries. The event's type, id, source and subject must agree with the entry.
func DecodeEntryEvent(b []byte) (Entry, error) {
	event, err := decodeCloudEvent(b, EntryEventType)
	if err != nil {
		return Entry{}, err
	}
	e, err := DecodeEntry(event.Data())
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if event.ID() != e.eventID() || event.Subject() != e.Dataset || event.Source() != storeSource+e.StoreID.String() {
		return Entry{}, fmt.Errorf("%w: id %.80q, subject %.80q and source %.80q are not those of journal entry %s",
			ErrEvent, event.ID(), event.Subject(), event.Source(), e.ID())
	}
	return e, nil
}

// eventID returns the id of the event that carries e. It differs from that of a version with the same number.
func (e Entry) eventID() string { return e.Dataset + "/journal/" + strconv.FormatUint(e.Number, 10) }
