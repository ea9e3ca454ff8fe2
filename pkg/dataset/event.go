package dataset

import (
	"errors"
	"fmt"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// EventType is the CloudEvents type of the event that announces a version. event.schema.json is its JSON Schema (draft 2020-12).
const EventType = "dev.freshet.dataset.version.v1"

const (
	// storeSource is the prefix of an event's source; the store id follows. Releases before store ids wrote publisherSource.
	storeSource     = "/freshet/store/"
	publisherSource = "/freshet/publisher"
	// idAttribute is the CloudEvents extension attribute of the version id.
	idAttribute = "versionid"
)

// ErrEvent is wrapped by the errors of DecodeEvent and DecodeEntryEvent.
var ErrEvent = errors.New("not an event of freshet")

// EncodeEvent returns the event that announces r, in the JSON format of CloudEvents 1.0
// (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md). Its data is r.
func EncodeEvent(r VersionRecord) ([]byte, error) {
	data, err := r.Encode()
	if err != nil {
		return nil, err
	}
	e := cloudevents.New(cloudevents.CloudEventsVersionV1)
	e.SetID(r.ID())
	e.SetSource(publisherSource)
	if !r.StoreID.IsZero() {
		e.SetSource(storeSource + r.StoreID.String())
		e.SetExtension(idAttribute, r.VersionID().String())
	}
	e.SetType(EventType)
	e.SetSubject(r.Dataset)
	e.SetTime(r.Created)
	e.SetDataContentType(cloudevents.ApplicationJSON)
	e.DataEncoded = data
	return e.MarshalJSON()
}

// DecodeEvent returns the version record that the event b announces. The event's type, id and subject must agree with the
// record that it carries.
func DecodeEvent(b []byte) (VersionRecord, error) {
	e, err := decodeCloudEvent(b, EventType)
	if err != nil {
		return VersionRecord{}, err
	}
	r, err := DecodeVersionRecord(e.Data())
	if err != nil {
		return VersionRecord{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if e.ID() != r.ID() || e.Subject() != r.Dataset {
		return VersionRecord{}, fmt.Errorf("%w: id %.80q and subject %.80q are not those of version %s", ErrEvent, e.ID(), e.Subject(), r.ID())
	}
	if !r.StoreID.IsZero() {
		id, _ := e.Extensions()[idAttribute].(string)
		if e.Source() != storeSource+r.StoreID.String() || id != r.VersionID().String() {
			return VersionRecord{}, fmt.Errorf("%w: source %.80q and %s %.80q are not those of version %s", ErrEvent, e.Source(), idAttribute, id, r.ID())
		}
	}
	return r, nil
}

// decodeCloudEvent decodes a CloudEvents message of the given type.
func decodeCloudEvent(b []byte, eventType string) (e cloudevents.Event, err error) {
	if err := e.UnmarshalJSON(b); err != nil {
		return e, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	if err := e.Validate(); err != nil {
		return e, fmt.Errorf("%w: %s", ErrEvent, strings.TrimSpace(err.Error()))
	}
	if e.SpecVersion() != cloudevents.CloudEventsVersionV1 {
		return e, fmt.Errorf("%w: the version of CloudEvents is %.20q, want %q", ErrEvent, e.SpecVersion(), cloudevents.CloudEventsVersionV1)
	}
	if e.Type() != eventType {
		return e, fmt.Errorf("%w: the type is %.80q, want %q", ErrEvent, e.Type(), eventType)
	}
	return e, nil
}
