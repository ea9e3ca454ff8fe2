package history

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/versions"
)

var (
	// ErrNotFound is wrapped by every [*NotFoundError].
	ErrNotFound = errors.New("no such version")
	// ErrDeleted is wrapped by every [*DeletedError].
	ErrDeleted = errors.New("the version deletes the dataset")
	// ErrLost is returned when an object that the version needs is missing in the store or damaged. The message names the object, its
	// place and the version.
	ErrLost = errors.New("the version has lost an object")
	// ErrGone is returned when the objects of a version were removed, because the retention of its dataset does not keep it.
	ErrGone = gone.ErrGone
)

// NotFoundError is returned when the dataset, or the version, is not in the store.
type NotFoundError struct {
	Dataset string
	// Version is the version that was requested; 0 means the newest.
	Version uint64
	// Newest is the newest version of the dataset; 0 if it has none.
	Newest uint64
}

// Error names the versions that exist.
func (e *NotFoundError) Error() string {
	switch {
	case e.Newest == 0:
		return fmt.Sprintf("dataset %s has no version", e.Dataset)
	case e.Version > e.Newest:
		return fmt.Sprintf("dataset %s has no version %d; it has the versions 1 to %d", e.Dataset, e.Version, e.Newest)
	}
	return fmt.Sprintf("the store has no record of version %d of dataset %s, which has the versions 1 to %d; put back a copy of the record",
		e.Version, e.Dataset, e.Newest)
}

// Unwrap returns ErrNotFound.
func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// DeletedError is returned by Open for a version that deletes its dataset.
type DeletedError struct {
	// Version is the record of the version.
	Version dataset.VersionRecord
	// Last is the newest version before it that has records.
	Last uint64
}

// Error says who deleted the dataset, and which version has its last records.
func (e *DeletedError) Error() string {
	return fmt.Sprintf("version %d of dataset %s is %s; version %d has its last records, and `freshet rollback %[2]s --to %[4]d` restores them",
		e.Version.Version, e.Version.Dataset, e.Version.DeletedText(), e.Last)
}

// Unwrap returns ErrDeleted.
func (e *DeletedError) Unwrap() error { return ErrDeleted }

// deleted returns the error of a read of rec, a version that deletes its dataset.
func (r *Reader) deleted(ctx context.Context, rec dataset.VersionRecord) error {
	before := rec
	for before.Deleted {
		var err error
		if before, err = r.record(ctx, rec.Dataset, before.Version-1); err != nil {
			return err
		}
	}
	return &DeletedError{rec, before.Version}
}

// failed returns err, of reading the version of rec, with the name of the version: as an ErrGone or an ErrLost if it says that an object is
// lost or damaged.
func (r *Reader) failed(ctx context.Context, rec dataset.VersionRecord, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrLost), errors.Is(err, ErrNotFound), errors.Is(err, ErrGone):
		return err
	case versions.IsLost(err):
		if explained := gone.Explain(ctx, r.store, rec, err); errors.Is(explained, ErrGone) {
			return explained
		}
		return fmt.Errorf("version %d of dataset %s cannot be read: %w: %w; put back a good copy of the object", rec.Version, rec.Dataset, ErrLost, err)
	}
	return fmt.Errorf("read version %d of dataset %s: %w", rec.Version, rec.Dataset, err)
}
