// Package gone finds out which versions of a dataset have lost their objects to retention.
package gone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// ErrGone is returned when the objects of a version were removed, because the retention of its dataset does not keep it.
var ErrGone = errors.New("the bytes of the version are gone")

// Versions are the versions of a dataset whose objects were removed.
type Versions struct {
	dataset.VersionRanges
	// Time, By and Reason are those of the last removal.
	Time       time.Time
	By, Reason string
}

// Of returns the versions of the dataset whose objects were removed. It reads the journal backward to the last removal; a damaged entry is
// left out.
func Of(ctx context.Context, st store.Store, name string) (Versions, error) {
	newest, err := st.NewestEntry(ctx, name)
	if err != nil {
		return Versions{}, fmt.Errorf("read the journal of dataset %s: %w", name, err)
	}
	for number := newest; number > 0; number-- {
		e, err := st.Entry(ctx, name, number)
		if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNotFound) {
			continue // another finding; the entry before it says less
		}
		if err != nil {
			return Versions{}, fmt.Errorf("read the journal of dataset %s: %w", name, err)
		}
		if e.Kind != dataset.EntryGC {
			continue
		}
		removal, err := e.Removal()
		if err != nil {
			return Versions{}, err
		}
		return Versions{VersionRanges: removal.Gone, Time: e.Time, By: e.By, Reason: e.Reason}, nil
	}
	return Versions{}, nil
}

// Explain returns an ErrGone in the place of err if the objects of the version were removed, else err. A journal that cannot be read explains
// nothing.
func Explain(ctx context.Context, st store.Store, rec dataset.VersionRecord, err error) error {
	if err == nil || errors.Is(err, ErrGone) {
		return err
	}
	versions, failed := Of(ctx, st, rec.Dataset)
	if failed != nil || !versions.Contains(rec.Version) {
		return err
	}
	return versions.Error(rec)
}

// Error returns the ErrGone of a version.
func (v Versions) Error(rec dataset.VersionRecord) error {
	return fmt.Errorf("version %d of dataset %s: %w: the retention of the dataset does not keep it; `freshet versions %[2]s` shows which versions have their bytes, "+
		"and a backup of the store may have those of this one", rec.Version, rec.Dataset, ErrGone)
}
