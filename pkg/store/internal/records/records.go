// Package records decodes the records of a store, checks commits, and has the errors about records that all stores share.
package records

import (
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// DecodeVersion decodes a version record that was read at place. Its errors name the dataset, the version and the place.
func DecodeVersion(b []byte, name string, version uint64, place string) (dataset.VersionRecord, error) {
	rec, err := dataset.DecodeVersionRecord(b)
	if err != nil {
		return dataset.VersionRecord{}, DamagedVersion(name, version, place, err)
	}
	if rec.Dataset != name || rec.Version != version {
		return dataset.VersionRecord{}, DamagedVersion(name, version, place, fmt.Errorf("it is the record of %s", rec.ID()))
	}
	return rec, nil
}

// DamagedVersion returns the error for a damaged version record.
func DamagedVersion(name string, version uint64, place string, why error) error {
	return &store.RecordError{Dataset: name, Version: version, Place: place, Err: why}
}

// MissingVersion returns the error for a lost version record: version newest exists, so version must exist too.
func MissingVersion(name string, version, newest uint64, place string) error {
	return DamagedVersion(name, version, place, fmt.Errorf("it is missing, although version %d exists", newest))
}

// NoVersion returns the error for a version that does not exist.
func NoVersion(name string, version uint64, st store.Store) error {
	return fmt.Errorf("%s version %d: %w %s", name, version, store.ErrNotFound, st)
}

// NoVersions returns the error for a dataset that has no version.
func NoVersions(name string, st store.Store) error {
	return fmt.Errorf("a version of dataset %s: %w %s", name, store.ErrNotFound, st)
}

// DecodeSnapshot is DecodeVersion for a snapshot record.
func DecodeSnapshot(b []byte, name string, version uint64, place string) (dataset.SnapshotRecord, error) {
	rec, err := dataset.DecodeSnapshotRecord(b)
	if err == nil && (rec.Dataset != name || rec.Object.Version != version) {
		err = fmt.Errorf("it is the record of %s", rec.ID())
	}
	if err != nil {
		return dataset.SnapshotRecord{}, DamagedSnapshot(name, version, place, err)
	}
	return rec, nil
}

// DamagedSnapshot returns the error for a damaged snapshot record. The damage loses no data: versions name an older snapshot.
func DamagedSnapshot(name string, version uint64, place string, why error) error {
	return fmt.Errorf("%w: the snapshot record of %s version %d at %s: %w; the next compaction puts another in its place", store.ErrDamaged, name, version, place, why)
}

// NoSnapshot returns the error for a range of versions without a snapshot record.
func NoSnapshot(name string, after, upTo uint64, st store.Store) error {
	return fmt.Errorf("a snapshot record of %s after version %d, up to %d: %w %s", name, after, upTo, store.ErrNotFound, st)
}

// DecodeClaim is DecodeVersion for a claim.
func DecodeClaim(b []byte, name string, version uint64, place string) (dataset.Claim, error) {
	c, err := dataset.DecodeClaim(b)
	if err == nil && (c.Dataset != name || c.Version != version) {
		err = fmt.Errorf("it is the claim of %s", c.ID())
	}
	if err != nil {
		return dataset.Claim{}, DamagedClaim(name, version, place, err)
	}
	return c, nil
}

// DamagedClaim returns the error for a damaged claim, which publishers ignore.
func DamagedClaim(name string, version uint64, place string, why error) error {
	return fmt.Errorf("%w: the claim of %s version %d at %s: %w; remove it", store.ErrDamaged, name, version, place, why)
}

// NoClaim returns the error for a dataset without a claim.
func NoClaim(name string, st store.Store) error {
	return fmt.Errorf("a claim of dataset %s: %w %s", name, store.ErrNotFound, st)
}

// CheckNext returns nil if rec is the next version after newest, the dataset's newest version, or 0 if it has none. Otherwise it returns
// an error that wraps [store.ErrExists] or [store.ErrGap].
func CheckNext(rec dataset.VersionRecord, newest uint64) error {
	switch {
	case rec.Version <= newest:
		return fmt.Errorf("commit %s: %w: the newest is %d", rec.ID(), store.ErrExists, newest)
	case rec.Version > newest+1 && newest == 0:
		return fmt.Errorf("commit %s: %w: the dataset has no version yet, so the next is 1", rec.ID(), store.ErrGap)
	case rec.Version > newest+1:
		return fmt.Errorf("commit %s: %w: the newest is %d, so the next is %d", rec.ID(), store.ErrGap, newest, newest+1)
	}
	return nil
}
