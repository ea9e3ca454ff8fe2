package versions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// Whole returns a chain to rec whose objects the store has and no reader found damaged: from the newest such snapshot from which whole
// deltas lead to rec. It looks through up to dataset.MaxDeltas versions, and costs a read of each of their records. It returns
// store.ErrNotFound if there is no such chain.
func (c *Chains) Whole(ctx context.Context, rec dataset.VersionRecord) (Chain, error) {
	fail := func(version uint64, why error) (Chain, error) {
		return Chain{}, fmt.Errorf("look for a chain to version %s: at version %d: %w", rec.ID(), version, why)
	}
	var deltas []dataset.Object // the last one first
	at, known := rec, true
	for version := rec.Version; ; version-- {
		if o, ok, err := c.wholeSnapshot(ctx, rec, at, known, version); ok || err != nil {
			slices.Reverse(deltas)
			return Chain{o, deltas}, err
		}
		delta := dataset.Object{}
		if own, ok := at.OwnDelta(); known && ok {
			delta = own
		} else if later := rec.DeltasFrom(version - 1); len(later) > 0 {
			delta = later[0]
		}
		whole, err := c.has(ctx, delta)
		switch {
		case err != nil:
			return fail(version, err)
		case !whole || len(deltas) == dataset.MaxDeltas:
			return fail(version, fmt.Errorf("no whole delta leads to it: %w", store.ErrNotFound))
		}
		deltas = append(deltas, delta)
		at, err = c.store.Version(ctx, rec.Dataset, version-1)
		known = err == nil
		if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound) {
			return fail(version-1, err)
		}
	}
}

// wholeSnapshot returns a whole snapshot of the version, whose record is at if known is true. ok is false if there is none.
func (c *Chains) wholeSnapshot(ctx context.Context, rec, at dataset.VersionRecord, known bool, version uint64) (o dataset.Object, ok bool, err error) {
	var candidates []dataset.Object
	if known && at.Snapshot.Version == version {
		candidates = append(candidates, at.Snapshot)
	}
	if known {
		switch newer, err := c.NewerSnapshot(ctx, at, version-1); {
		case err == nil:
			candidates = append(candidates, newer)
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged):
			return o, false, err
		}
	}
	if rec.Snapshot.Version == version {
		candidates = append(candidates, rec.Snapshot)
	}
	for _, o := range candidates {
		if whole, err := c.has(ctx, o); whole || err != nil {
			return o, whole, err
		}
	}
	return o, false, nil
}

// has reports whether the store has the object, in its size, and no reader found it damaged.
func (c *Chains) has(ctx context.Context, o dataset.Object) (bool, error) {
	if o.Version == 0 || c.objects.Suspect(o.Digest) {
		return false, nil
	}
	bytes, err := c.store.StatObject(ctx, o.Digest)
	if IsLost(err) {
		return false, nil
	}
	return err == nil && bytes == o.Bytes, err
}
