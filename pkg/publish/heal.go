package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"github.com/sourcegraph/conc/pool"
)

// statLanes is how many objects are looked for at a time: a version may name hundreds of deltas, and a bucket takes
// some ten milliseconds to answer for each.
const statLanes = 8

// lostObject is an object that a version record names and that the store does not have as the record says.
type lostObject struct {
	dataset.Object
	err error // what is wrong, with the object's digest
}

// lost returns the objects from which rec is loaded that are missing in the store or have another size there. Whether the
// bytes are the right ones is not looked at: that would read the whole dataset for each publish that changes nothing. Nor
// are deltas from before the snapshot: an instance that misses one of those pulls the snapshot.
func (p *Publisher) lost(ctx context.Context, rec dataset.VersionRecord) ([]lostObject, error) {
	c := named(rec)
	objects := append([]dataset.Object{c.snapshot}, c.deltas...)
	wrong := make([]error, len(objects))
	lanes := pool.New().WithMaxGoroutines(statLanes).WithContext(ctx).WithCancelOnError().WithFirstError()
	for i, o := range objects {
		lanes.Go(func(ctx context.Context) error {
			size, err := p.deps.Store.StatObject(ctx, o.Digest)
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
				wrong[i] = err
			case err != nil:
				return err
			case size != o.Bytes:
				wrong[i] = fmt.Errorf("object %s has %d bytes in the store, not %d", o.Digest, size, o.Bytes)
			}
			return nil
		})
	}
	if err := lanes.Wait(); err != nil {
		return nil, fmt.Errorf("look for the objects of version %s: %w", rec.ID(), err)
	}
	var lost []lostObject
	for i, o := range objects {
		if wrong[i] != nil {
			lost = append(lost, lostObject{o, wrong[i]})
		}
	}
	return lost, nil
}

// heal makes latest, whose content the draft has too, whole again: no instance that starts could load it otherwise. It
// reports false if that takes another version of the same content, because the draft is not the object that is lost.
// What it found, and did, it says in the result.
func (p *Publisher) heal(ctx context.Context, d *draft, latest dataset.VersionRecord, result *Result) (whole bool, err error) {
	lost, err := p.lost(ctx, latest)
	if err != nil || len(lost) == 0 {
		return err == nil, err
	}
	if err := p.write(ctx, d); err != nil {
		return false, fmt.Errorf("write the snapshot: %w", err)
	}
	other := slices.IndexFunc(lost, func(o lostObject) bool { return o.Digest != d.totals.Digest || o.Bytes != d.totals.FileBytes })
	if other >= 0 {
		result.Warnings = append(result.Warnings, fmt.Sprintf(
			"version %s cannot be loaded: %v; what this publisher makes of the same content has other bytes, so that version %d was made to stand in for it",
			latest.ID(), lost[other].err, latest.Version+1))
		return false, nil
	}
	if err := p.put(ctx, d.path, dataset.Object{Digest: d.totals.Digest, Bytes: d.totals.FileBytes}); err != nil {
		return false, fmt.Errorf("put back the snapshot of version %s: %w", latest.ID(), err)
	}
	result.Warnings = append(result.Warnings, fmt.Sprintf("put back the snapshot of version %s: %v", latest.ID(), lost[0].err))
	return true, nil
}
