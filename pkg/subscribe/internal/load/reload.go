package load

import (
	"context"
	"fmt"

	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// Reload pulls the served version again: its snapshot and the deltas that extend it, also into the cache folder. If from is not 0,
// Difference has the changes since that version, which the snapshot and the first deltas make.
func (l *Loader) Reload(ctx context.Context, served *served, from uint64, progress func()) (loaded, error) {
	a := l.begin(ctx, served.Record, progress)
	v, err := a.reload(served, from)
	if err != nil {
		a.drop()
		return loaded{}, fmt.Errorf("load version %s again: %w", served.Record.ID(), err)
	}
	return v, nil
}

// reload builds the version as full does, and keeps the table of the version from, unless from is 0.
func (a *attempt) reload(served *served, from uint64) (v loaded, err error) {
	if from == 0 {
		return a.full(served)
	}
	defer a.dropOnPanic()
	chain, after := a.rec.Chain(), len(a.rec.DeltasFrom(from))
	if after == 0 || after >= len(chain) {
		return loaded{}, fmt.Errorf("the snapshot and the deltas on it do not have the changes since version %d", from)
	}
	if a.admitted, err = a.Bounds.Full(a.rec); err != nil {
		return loaded{}, err
	}
	upTo := len(chain) - after
	base, err := a.snapshotTable(a.ctx, chain[0], a.open)
	if err == nil {
		base, err = a.applyToNew(a.ctx, base, chain[1:upTo], a.open)
	}
	var t *table.Table
	var changes *table.Changes
	if err == nil {
		t, changes, err = a.applyToServed(a.ctx, base, chain[upTo:], a.open)
	}
	if err == nil {
		err = verify(t, a.rec)
	}
	if err != nil {
		return loaded{}, err
	}
	v = loaded{
		Record: a.rec, Value: t, Difference: changes,
		Pull: refresh.Pull{Bytes: a.bytes, Full: true, Deltas: len(chain) - 1},
	}
	a.setFinish(&v, func() error { return a.draft.Commit(a.rec) }, replaced{bytes: served.Value.Bytes() + changes.Replaced(), full: true})
	return v, nil
}
