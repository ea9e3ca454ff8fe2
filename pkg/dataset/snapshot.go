package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrSnapshotRecord is wrapped by the errors of SnapshotRecord.Check and DecodeSnapshotRecord.
var ErrSnapshotRecord = errors.New("not a snapshot record")

// SnapshotRecord names a snapshot that a compaction wrote after its version was committed. The version's record names an
// older snapshot, because version records never change. Records of later versions name the new snapshot.
type SnapshotRecord struct {
	Dataset string `json:"dataset"`
	// Object is the snapshot; Object.Version is the snapshot's version.
	Object Object `json:"object"`
	// VersionID is the id of the version; zero in records of the releases before version ids.
	VersionID VersionID `json:"id,omitzero"`
	// State is the state checksum of the version.
	State Checksum `json:"state"`
	// Created is the time of the record by the clock of the process that wrote it. It orders nothing.
	Created time.Time `json:"created"`
}

// ID returns "<dataset>/<version>".
func (r SnapshotRecord) ID() string {
	return r.Dataset + "/" + strconv.FormatUint(r.Object.Version, 10)
}

// Check returns an error that wraps [ErrSnapshotRecord] if r is not a valid snapshot record.
func (r SnapshotRecord) Check() error {
	if err := CheckName(r.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshotRecord, err)
	}
	switch {
	case r.Object.Digest.IsZero() || r.Object.Bytes <= 0 || r.Object.Version == 0:
		return fmt.Errorf("%w: %s: the object has no digest, size or version", ErrSnapshotRecord, r.ID())
	case r.Created.IsZero():
		return fmt.Errorf("%w: %s: the record has no creation time", ErrSnapshotRecord, r.ID())
	}
	return nil
}

// Encode returns r as JSON, the form in the store. It fails if Check does.
func (r SnapshotRecord) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// DecodeSnapshotRecord decodes and checks a snapshot record. It ignores unknown members.
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
