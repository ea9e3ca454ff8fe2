package versions

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// pageRecords is how many version records Each reads ahead.
const pageRecords = 64

// ErrStoreID is returned when the file with the store's id is damaged, or names another store than the version records. The
// message names the files.
var ErrStoreID = errors.New("the store id is damaged")

// Records reads the version records of a store.
type Records struct{ store store.Store }

// Newest returns the newest version of the dataset, the zero record if the dataset has none.
func (r *Records) Newest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	rec, err := r.store.Latest(ctx, name)
	switch {
	case err == nil:
		return rec, nil
	case errors.Is(err, store.ErrNotFound):
		return dataset.VersionRecord{}, nil
	}
	return dataset.VersionRecord{}, fmt.Errorf("look up the newest version of dataset %q: %w", name, err)
}

// Each calls do with the records of the versions from one number to the other, in order.
func (r *Records) Each(ctx context.Context, name string, from, to uint64, do func(dataset.VersionRecord) error) error {
	for ; from <= to; from += pageRecords {
		page, err := r.page(ctx, name, from, min(to, from+pageRecords-1))
		if err != nil {
			return fmt.Errorf("read the versions from %d to %d of dataset %q: %w", from, to, name, err)
		}
		for _, rec := range page {
			if err := do(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// page returns the records of the versions, in order. It omits a damaged record unless that is the last: a gap in the history
// does less harm than a dataset that stands still.
func (r *Records) page(ctx context.Context, name string, from, to uint64) ([]dataset.VersionRecord, error) {
	records, err := r.store.Versions(ctx, name, to+1, int(to-from+1))
	if err == nil {
		slices.Reverse(records)
		return records, nil
	}
	records = nil
	for version := from; version <= to; version++ {
		rec, err := r.store.Version(ctx, name, version)
		switch {
		case err == nil:
			records = append(records, rec)
		case version == to || !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return records, nil
}

// Contains reports whether the version of rec, which the event log or the catalog has, is in the store's history. A version
// that the store lacks, or has under another id, belongs to another store or to a history that a restore ended.
func (r *Records) Contains(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	own, err := r.store.Version(ctx, rec.Dataset, rec.Version)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look up version %s: %w", rec.ID(), err)
	}
	return own.VersionID() == rec.VersionID(), nil
}

// Stamp sets the store of rec, the version after latest, and the version that it follows.
func (r *Records) Stamp(ctx context.Context, rec *dataset.VersionRecord, latest dataset.VersionRecord) error {
	id, err := r.StoreID(ctx, latest)
	if err != nil {
		return err
	}
	rec.StoreID = id
	if latest.Version > 0 {
		rec.Previous = latest.VersionID()
	}
	return nil
}

// StoreID returns the id of the store. It returns ErrStoreID if the id is damaged or is not the one in latest.
func (r *Records) StoreID(ctx context.Context, latest dataset.VersionRecord) (dataset.StoreID, error) {
	id, err := r.store.EnsureID(ctx)
	if errors.Is(err, store.ErrDamaged) {
		return dataset.StoreID{}, fmt.Errorf("%w: %w", ErrStoreID, err)
	}
	if err != nil {
		return dataset.StoreID{}, fmt.Errorf("read the store id: %w", err)
	}
	return id, r.checkStore(id, latest)
}

// checkStore returns ErrStoreID if rec, a version record of the store, names another store than id. A copy of a store and a
// restored store keep their id, so one of the two files is not what a publisher wrote.
func (r *Records) checkStore(id dataset.StoreID, rec dataset.VersionRecord) error {
	if rec.StoreID.IsZero() || rec.StoreID == id {
		return nil
	}
	place := r.store.RecordPlace(rec.Dataset, rec.Version)
	return fmt.Errorf("%w: %s says %s, and the record of version %s at %s says %s; if the first is wrong, put back a good copy of it, or remove it: then the "+
		"publisher takes the id that most datasets name; if the dataset was copied from another store, move %s away and publish all of its records again",
		ErrStoreID, r.store.IDPlace(), id, rec.ID(), place, rec.StoreID, path.Dir(place))
}
