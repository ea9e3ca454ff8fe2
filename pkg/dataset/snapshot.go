package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrSnapshotRecord is wrapped by every error that refuses a snapshot record.
var ErrSnapshotRecord = errors.New("not a snapshot record")

// SnapshotRecord says that there is a snapshot of a version whose version record names an older one: the version had
// been committed before the snapshot was written, and version records never change. Versions that are committed later
// name it.
type SnapshotRecord struct {
	Dataset string `json:"dataset"`
	// Object is the snapshot; its Version is the version that it holds.
	Object Object `json:"object"`
	// VersionID is the id of the version; zero in a record of the releases before version ids.
	VersionID VersionID `json:"id,omitzero"`
	// State is the state checksum of the version.
	State Checksum `json:"state"`
	// Created is when the record was made, by the clock of who made it. Nothing is ordered by it.
	Created time.Time `json:"created"`
}

// ID returns "<dataset>/<version>".
func (r SnapshotRecord) ID() string {
	return r.Dataset + "/" + strconv.FormatUint(r.Object.Version, 10)
}

// Check says why r cannot be a snapshot record; nil means that it can.
func (r SnapshotRecord) Check() error {
	if err := CheckName(r.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotRecord, err)
	}
	switch {
	case r.Object.Digest.IsZero() || r.Object.Bytes <= 0 || r.Object.Version == 0:
		return fmt.Errorf("%w: %s: its object has no digest, size or version", ErrSnapshotRecord, r.ID())
	case r.Created.IsZero():
		return fmt.Errorf("%w: %s: it has no creation time", ErrSnapshotRecord, r.ID())
	}
	return nil
}

// Encode returns r, which must pass Check, as JSON: the form in the store.
func (r SnapshotRecord) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// DecodeSnapshotRecord returns the snapshot record that b is the JSON of, checked. Members it does not know are ignored.
func DecodeSnapshotRecord(b []byte) (SnapshotRecord, error) {
	var r SnapshotRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return SnapshotRecord{}, fmt.Errorf("%w: %w", ErrSnapshotRecord, err)
	}
	if err := r.Check(); err != nil {
		return SnapshotRecord{}, err
	}
	return r, nil
}
