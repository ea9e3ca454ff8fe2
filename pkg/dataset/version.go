package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrVersionRecord is wrapped by the errors of VersionRecord.Check, VersionRecord.Encode and DecodeVersionRecord.
var ErrVersionRecord = errors.New("not a version record")

// Seed is the seed of a dataset's hash. Its text form is 16 lower-case hex digits, because many readers of JSON keep
// numbers exact only up to 2^53.
type Seed uint64

// MarshalText implements [encoding.TextMarshaler].
func (s Seed) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(s)), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Seed) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil || fmt.Sprintf("%016x", v) != string(text) {
		return fmt.Errorf("%.40q is no seed: want 16 lower-case hex digits", text)
	}
	*s = Seed(v)
	return nil
}

// Object names an object in the store: a snapshot or a delta.
type Object struct {
	// Version is the version of a snapshot. A delta leads to Version from the version before.
	Version uint64 `json:"version"`
	Digest  Digest `json:"digest"`
	// Bytes is the size of the object in the store.
	Bytes int64 `json:"bytes"`
	// From is the id of the version that a delta applies to. It is zero for a snapshot, and for a delta of the releases
	// before version ids.
	From VersionID `json:"from,omitzero"`
}

// Changes counts the records that differ between a version and the one before. In version 1 all are Added.
type Changes struct {
	Added   uint64 `json:"added"`
	Changed uint64 `json:"changed"`
	Removed uint64 `json:"removed"`
}

// Total returns the number of records that differ.
func (c Changes) Total() uint64 { return c.Added + c.Changed + c.Removed }

// VersionRecord describes one version of a dataset. Writing the record to the store commits the version; from then on the
// record is immutable.
//
// The JSON of a record with a store id also has the member "id", the version id.
type VersionRecord struct {
	// StoreID identifies the store of the version. It is zero in records of the releases before store ids.
	StoreID StoreID `json:"store_id,omitzero"`
	// Previous is the id of the version before. It is zero for version 1, and in records without a store id.
	Previous VersionID `json:"previous,omitzero"`

	Dataset string `json:"dataset"`
	Version uint64 `json:"version"`
	Seed    Seed   `json:"seed"`
	// State is the state checksum of the version's records; it includes their number.
	State Checksum `json:"state"`
	// PayloadBytes is the sum of the lengths of all keys and values.
	PayloadBytes uint64 `json:"payload_bytes"`
	// Snapshot and the deltas after it make the version: see [VersionRecord.Chain]. Deltas are in order and without a gap,
	// and the last leads to this version. They may begin before the snapshot, so that an instance on an older version need
	// not pull a new snapshot.
	Snapshot Object   `json:"snapshot"`
	Deltas   []Object `json:"deltas,omitempty"`
	Changes  Changes  `json:"changes"`
	// Created is the time of the commit by the publisher's clock. It orders nothing.
	Created time.Time `json:"created"`
	// Source identifies the publisher: free text of its configuration.
	Source string `json:"source"`
	// Labels are metadata of the pipeline. freshet stores them unchanged.
	Labels map[string]string `json:"labels,omitempty"`
	// ExpectEvery is the cadence that the pipeline promised: without a newer version for that long after Created, the
	// dataset is overdue. 0 means no promise. A version inherits the promise of the one before unless its request sets one.
	ExpectEvery time.Duration `json:"expect_every_ns,omitempty"`

	// RequestID is the id of the request that created the version, if it had one: see [CheckRequestID]. A publisher uses it
	// to detect a request that was repeated after its commit.
	RequestID string `json:"request_id,omitempty"`

	// By is who published the version, as the caller named itself, such as "user@host"; nothing verifies it. Reason is why. Both
	// are empty if the request did not say.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Restores is the version whose content a rollback restored; zero for every other version.
	Restores Ref `json:"restores,omitzero"`

	// Deleted says that the version deletes the dataset: it has no records. Dropped says that instances drop their tables too. By and
	// Reason say who deleted it, and why.
	Deleted bool `json:"deleted,omitempty"`
	Dropped bool `json:"dropped,omitempty"`

	// Extra holds members of later releases that this release does not define. They are part of the version id.
	Extra map[string]json.RawMessage `json:"-"`
}

// ID returns "<dataset>/<version>": the id of the event that announces r.
func (r VersionRecord) ID() string { return r.Dataset + "/" + strconv.FormatUint(r.Version, 10) }

// Encode returns r as JSON, the form in the store, in the catalog and in events. It fails if Check does.
func (r VersionRecord) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	text, err := r.MarshalJSON()
	if err == nil && len(text) > MaxRecordBytes {
		return nil, fmt.Errorf("%w: %s: the record has %d bytes as JSON, the most is %d", ErrVersionRecord, r.ID(), len(text), MaxRecordBytes)
	}
	return text, err
}

// DecodeVersionRecord decodes and checks a version record. It keeps unknown members in Extra, so that an older instance
// can load the versions of a newer publisher. It refuses a record whose member "id" is not the id of its content.
func DecodeVersionRecord(b []byte) (VersionRecord, error) {
	var r VersionRecord
	if err := r.UnmarshalJSON(b); err != nil { // json.Unmarshal would scan the text twice
		return VersionRecord{}, fmt.Errorf("%w: %w", ErrVersionRecord, err)
	}
	if err := r.Check(); err != nil {
		return VersionRecord{}, err
	}
	if err := r.checkID(b); err != nil {
		return VersionRecord{}, err
	}
	return r, nil
}
