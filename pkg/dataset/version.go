package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrVersionRecord is wrapped by every error that refuses a version record.
var ErrVersionRecord = errors.New("not a version record")

// Seed is the seed of a dataset's hash. As text it is 16 lower-case hex digits, because JSON numbers are exact
// only to 2^53 in many readers.
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

// Object names an object of a version, and what it leads to.
type Object struct {
	// Version is the version that the object's content, a snapshot, is, or that a delta leads to from the one before.
	Version uint64 `json:"version"`
	Digest  Digest `json:"digest"`
	// Bytes is the object's size as stored.
	Bytes int64 `json:"bytes"`
	// From is the id of the version that a delta leads on from; zero for a snapshot, and for a delta of an earlier release.
	From VersionID `json:"from,omitzero"`
}

// Changes counts the records by which a version differs from the one before. In version 1 all are Added.
type Changes struct {
	Added   uint64 `json:"added"`
	Changed uint64 `json:"changed"`
	Removed uint64 `json:"removed"`
}

// Total returns the number of records that differ.
func (c Changes) Total() uint64 { return c.Added + c.Changed + c.Removed }

// VersionRecord describes one version of a dataset. It is immutable once it is in the store, and its being there
// is what makes the version exist.
//
// Its JSON also has the member "id", the version id, if it has a store id.
type VersionRecord struct {
	// StoreID names the store that the version was committed to. It is zero in records of the releases before store ids.
	StoreID StoreID `json:"store_id,omitzero"`
	// Previous is the id of the version before; zero for version 1, and in records without a store id.
	Previous VersionID `json:"previous,omitzero"`

	Dataset string `json:"dataset"`
	Version uint64 `json:"version"`
	Seed    Seed   `json:"seed"`
	// State is the state checksum of the version's records, with their number.
	State Checksum `json:"state"`
	// PayloadBytes is the sum of the lengths of all keys and values.
	PayloadBytes uint64 `json:"payload_bytes"`
	// Snapshot and the Deltas that lead on from it make the version. The deltas stand in order and without a gap, and
	// the last leads to this version. They may begin before the snapshot, so that a new snapshot does not make every
	// instance that serves the version before it pull a whole dataset.
	Snapshot Object   `json:"snapshot"`
	Deltas   []Object `json:"deltas,omitempty"`
	Changes  Changes  `json:"changes"`
	// Created is when the publisher committed the version, by the publisher's clock. Nothing is ordered by it.
	Created time.Time `json:"created"`
	// Source says who published: free text of the publisher's configuration.
	Source string `json:"source"`
	// Labels are the pipeline's own, kept as they are.
	Labels map[string]string `json:"labels,omitempty"`
	// ExpectEvery is the cadence that the pipeline promised: with no newer version for so long after Created, the dataset
	// is overdue. 0: it promised none. A version takes the promise of the one before, unless it is given another.
	ExpectEvery time.Duration `json:"expect_every_ns,omitempty"`

	// RequestID is the id of the request that made the version, if it had one: see [CheckRequestID]. A publisher finds by it that a
	// repeated request was carried out before.
	RequestID string `json:"request_id,omitempty"`

	// Extra holds the members that a later release wrote and this one does not know. They are part of the version id.
	Extra map[string]json.RawMessage `json:"-"`
}

// ID returns "<dataset>/<version>": the id of the event that announces r.
func (r VersionRecord) ID() string { return r.Dataset + "/" + strconv.FormatUint(r.Version, 10) }

// Check says why r cannot be a version record; nil means that it can.
func (r VersionRecord) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{ErrVersionRecord, r.ID()}, args...)...)
	}
	if err := CheckName(r.Dataset); err != nil {
		return fmt.Errorf("%w: %w", ErrVersionRecord, err)
	}
	switch {
	case r.Version == 0:
		return bad("versions begin at 1")
	case r.Version == 1 && !r.Previous.IsZero():
		return bad("it names a version before the first")
	case r.Created.IsZero():
		return bad("it has no creation time")
	case len(r.Source) > MaxSourceBytes:
		return bad("the source has %d bytes, the most is %d", len(r.Source), MaxSourceBytes)
	case len(r.Labels) > MaxLabels:
		return bad("it has %d labels, the most is %d", len(r.Labels), MaxLabels)
	case r.ExpectEvery != 0 && (r.ExpectEvery < MinExpectEvery || r.ExpectEvery > MaxExpectEvery):
		return bad("the next version is expected within %s; want %s to %s, or 0", r.ExpectEvery, MinExpectEvery, MaxExpectEvery)
	case len(r.Deltas) > MaxDeltas || uint64(len(r.Deltas)) >= r.Version:
		return bad("it has %d deltas, the most is %d", len(r.Deltas), min(MaxDeltas, r.Version-1))
	}
	if r.RequestID != "" {
		if err := CheckRequestID(r.RequestID); err != nil {
			return bad("%w", err)
		}
	}
	// JSON has only UTF-8: anything else would not come back as it went, and two labels could become one.
	if !utf8.ValidString(r.Source) {
		return bad("the source %.40q is not UTF-8", r.Source)
	}
	for k, v := range r.Labels {
		switch {
		case k == "" || len(k) > MaxLabelBytes || len(v) > MaxLabelBytes:
			return bad("the label %.40q is empty or over %d bytes", k, MaxLabelBytes)
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return bad("the label %.40q=%.40q is not UTF-8", k, v)
		}
	}
	for i, o := range append([]Object{r.Snapshot}, r.Deltas...) {
		if o.Digest.IsZero() || o.Bytes <= 0 || o.Version == 0 {
			return bad("object %d names no digest, size or version", i+1)
		}
	}
	for i, o := range r.Deltas {
		if want := r.Version - uint64(len(r.Deltas)-1-i); o.Version != want {
			return bad("delta %d of %d leads to version %d, want %d", i+1, len(r.Deltas), o.Version, want)
		}
	}
	// What the deltas reach back to; without any, this version.
	if first := r.Version - uint64(len(r.Deltas)); r.Snapshot.Version < first || r.Snapshot.Version > r.Version {
		return bad("no chain of deltas leads to it from the snapshot of version %d", r.Snapshot.Version)
	}
	return nil
}

// Encode returns r, which must pass Check, as JSON: the form in the store, in the catalog and in events.
func (r VersionRecord) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	text, err := r.MarshalJSON()
	if err == nil && len(text) > MaxRecordBytes {
		return nil, fmt.Errorf("%w: %s: it has %d bytes as JSON, the most is %d", ErrVersionRecord, r.ID(), len(text), MaxRecordBytes)
	}
	return text, err
}

// DecodeVersionRecord returns the version record that b is the JSON of, checked. Members it does not know are
// kept in Extra, so that a newer publisher does not stop an older instance. A record whose member "id" is not the id of its
// content is refused.
func DecodeVersionRecord(b []byte) (VersionRecord, error) {
	var r VersionRecord
	if err := r.UnmarshalJSON(b); err != nil { // not by way of package json, which would read all of it twice
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
