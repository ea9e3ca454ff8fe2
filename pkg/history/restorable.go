package history

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/store"
)

const (
	// restorableContents is how many versions with records Restorable looks at, and restorableVersions how many of all kinds. The newest
	// of them is usually enough: retention keeps newer versions for longer.
	restorableContents = 4
	restorableVersions = 64
)

// Restorable reports whether the store still has the objects of one of the newest versions with records before rec, which deletes its
// dataset, so that a rollback can bring the content back. It reads version records, and looks whether objects exist; it reads none.
func (r *Reader) Restorable(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	contents, last := 0, rec.Version-min(rec.Version, restorableVersions)
	for version := rec.Version - 1; version > last && contents < restorableContents; version-- {
		before, err := r.store.Version(ctx, rec.Dataset, version)
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
			continue
		case err != nil:
			return false, fmt.Errorf("look for versions of the deleted dataset %s: %w", rec.Dataset, err)
		case before.Deleted:
			continue
		}
		contents++
		if has, err := r.hasObjects(ctx, before); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// hasObjects reports whether the store has the objects of a chain that leads to the version of rec.
func (r *Reader) hasObjects(ctx context.Context, rec dataset.VersionRecord) (bool, error) {
	shortest, err := r.versions.Chains.Shortest(ctx, rec)
	if err != nil {
		return false, r.failed(ctx, rec, err)
	}
	for _, chain := range []versions.Chain{shortest, versions.Named(rec)} {
		has, err := r.hasChain(ctx, chain)
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

func (r *Reader) hasChain(ctx context.Context, chain versions.Chain) (bool, error) {
	for _, o := range chain.Objects() {
		_, err := r.store.StatObject(ctx, o.Digest)
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("look for object %s: %w", o.Digest, err)
		}
	}
	return true, nil
}
