package load

import (
	"context"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// hasTable reports whether a version is served that has a table.
func hasTable(served *served) bool { return served != nil && !served.NoValue }

// deleted loads rec, a version that deletes its dataset. It pulls the empty snapshot, so that a version which only an event names is not
// believed. The served table stays, unless rec drops it.
func (l *Loader) deleted(ctx context.Context, rec dataset.VersionRecord, served *served, progress func()) (loaded, error) {
	failed := func(err error) (loaded, error) {
		return loaded{}, fmt.Errorf("load version %s, which deletes the dataset: %w", rec.ID(), err)
	}
	if rec.Dropped && hasTable(served) {
		a := l.begin(ctx, rec, progress)
		v, err := a.full(served)
		if err != nil {
			a.drop()
			return failed(err)
		}
		return v, nil
	}
	a := &attempt{Loader: l, ctx: ctx, rec: rec, progress: progress} // neither cached nor guarded: its table is not served
	t, err := a.snapshotTable(ctx, rec.Snapshot, a.open)
	if err == nil {
		err = verify(t, rec)
	}
	if err != nil {
		return failed(err)
	}
	v := loaded{Record: rec, Pull: refresh.Pull{Bytes: a.bytes, Full: true}}
	if !hasTable(served) {
		v.NoValue = true
		return v, nil
	}
	v.Value, v.Kept = served.Value, &refresh.Kept{}
	v.Kept.Record, v.Kept.ID = served.Content()
	return v, nil
}
