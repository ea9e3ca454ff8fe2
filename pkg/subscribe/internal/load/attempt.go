package load

import (
	"context"
	"errors"
	"io"
	"sync"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/bounds"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// errTooManyDrafts is why a version was not cached.
var errTooManyDrafts = errors.New("earlier versions are still being written to the cache folder")

// maxDrafts bounds the versions of a dataset that are being written to the cache folder. Each holds some of its objects in memory,
// and none its table.
const maxDrafts = 4

// attempt is one attempt to load a version. The objects that it pulls go to the table and to the cache folder in one pass.
type attempt struct {
	*Loader
	ctx      context.Context
	rec      dataset.VersionRecord
	progress func()
	draft    *cachedir.Draft // nil without a cache folder, or if the version is not cached
	hasSlot  bool            // draft counts in Loader.drafts
	uncached error           // why draft is nil although there is a cache folder
	bytes    int64           // pulled
	mark     guardMark
	admitted bounds.Admission
}

func (l *Loader) begin(ctx context.Context, rec dataset.VersionRecord, progress func()) *attempt {
	a := &attempt{Loader: l, ctx: ctx, rec: rec, progress: progress, mark: guardMark{guard: l.Guard, rec: rec}}
	if l.Cache != nil {
		switch a.uncached = l.Cache.Hangs(); {
		case a.uncached != nil:
		case l.acquireDraft(rec.Dataset):
			a.hasSlot, a.draft = true, l.Cache.Draft(rec.Dataset)
		default:
			a.uncached = errTooManyDrafts
		}
	}
	return a
}

// acquireDraft acquires one of the dataset's maxDrafts slots, or reports false.
func (l *Loader) acquireDraft(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drafts[name] >= maxDrafts {
		return false
	}
	if l.drafts == nil {
		l.drafts = make(map[string]int)
	}
	l.drafts[name]++
	return true
}

func (l *Loader) releaseDraft(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drafts[name]--
}

// drop removes what the attempt has not completed: the mark of a version that is not served, and files that are not committed.
func (a *attempt) drop() {
	a.mark.undo()
	a.admitted.Release()
	if a.draft != nil {
		a.draft.Drop()
	}
	if a.hasSlot {
		a.hasSlot = false
		a.releaseDraft(a.rec.Dataset)
	}
}

func (a *attempt) dropOnPanic() {
	if r := recover(); r != nil {
		a.drop()
		panic(r)
	}
}

// applyDeltas builds the version from the served one and the deltas.
func (a *attempt) applyDeltas(served *served, deltas []dataset.Object) (v loaded, err error) {
	defer a.dropOnPanic()
	if a.admitted, err = a.Bounds.Deltas(a.rec, deltas); err != nil {
		return loaded{}, err
	}
	t, changes, err := a.applyToServed(a.ctx, served.Value, deltas, a.open)
	if err == nil {
		err = verify(t, a.rec)
	}
	if err != nil {
		return loaded{}, err
	}
	base := served.Record
	v = loaded{
		Record: a.rec, Value: t, Difference: changes,
		Pull: refresh.Pull{Bytes: a.bytes, Deltas: len(deltas)},
	}
	a.setFinish(&v, func() error { return a.draft.Extend(base, a.rec) }, replaced{bytes: changes.Replaced()})
	return v, nil
}

// full builds the version from its snapshot and the deltas that extend it.
func (a *attempt) full(served *served) (v loaded, err error) {
	defer a.dropOnPanic()
	chain := a.rec.Chain()
	if a.admitted, err = a.Bounds.Full(a.rec); err != nil {
		return loaded{}, err
	}
	t, err := a.snapshotTable(a.ctx, chain[0], a.open)
	if err == nil {
		t, err = a.applyToNew(a.ctx, t, chain[1:], a.open)
	}
	if err == nil {
		err = verify(t, a.rec)
	}
	if err == nil {
		err = a.Bounds.Loaded(a.rec, t.Bytes())
	}
	if err != nil {
		return loaded{}, err
	}
	by := replaced{full: true}
	if served != nil {
		by.bytes = served.Value.Bytes()
	}
	v = loaded{
		Record: a.rec, Value: t,
		Pull: refresh.Pull{Bytes: a.bytes, Full: true, Deltas: len(chain) - 1},
	}
	a.setFinish(&v, func() error { return a.draft.Commit(a.rec) }, by)
	return v, nil
}

// replaced describes what a version replaces in memory.
type replaced struct {
	// bytes of the table before become free by the swap, unless it is kept as a root.
	bytes int64
	full  bool           // the version was loaded from a snapshot
	same  *table.Changes // see [roots.Swap]
}

// setFinish sets the functions of v that run after the swap. Swapped tells the boot guard, the Roots and the Collector. Finish may take
// long, and commits the version to the cache folder; it does not hold the table, because many versions may be swapped in before it runs.
func (a *attempt) setFinish(v *loaded, commit func() error, r replaced) {
	t := v.Value
	swap := roots.Swap{Dataset: a.rec.Dataset, To: roots.Root{Ref: a.rec.Ref(), Table: t}, Changes: v.Difference, Same: r.same}
	serve := sync.OnceFunc(func() {
		a.mark.serve()
		a.Bounds.Served(a.rec.Dataset, swap.To.Table.Bytes())
		a.Shortener.swapped(a.rec.Dataset, a.rec.Version)
		before, now := a.Roots.Swapped(swap)
		a.Collector.swapped(a.rec.Dataset, swap.To.Table, max(0, r.bytes+before-now), now, r.full)
		swap, r = roots.Swap{}, replaced{}
	})
	kept := weak.Make(t)
	v.Swapped = serve
	if a.draft != nil {
		v.Abandon = a.draft.Abandon
	}
	v.Finish = func(swapped bool) error {
		defer a.drop()
		if !swapped {
			return a.mark.err
		}
		serve()
		return oneline.Join(a.mark.settle(), a.cache(commit, kept), a.mark.err)
	}
}

// cache commits the version to the cache folder. If that fails, or makes too many deltas, the Shortener writes a snapshot of the table.
func (a *attempt) cache(commit func() error, t weak.Pointer[table.Table]) error {
	if a.Cache == nil {
		return nil
	}
	err := a.uncached
	if a.draft != nil {
		if err = commit(); errors.Is(err, cachedir.ErrOther) {
			err = nil // the deltas do not extend the cached version
		}
	}
	if a.Shortener != nil {
		err = oneline.Join(err, a.Shortener.request(a.rec, t))
	}
	return err
}

// open pulls an object. A damaged block of a relay is pulled again from another.
func (a *attempt) open(o dataset.Object) (input, error) {
	body, err := a.Pull.Object(a.ctx, o, a.progress)
	if err != nil {
		return input{}, err
	}
	a.mark.set() // not earlier: a relay that is down proves nothing about the version
	src := &reader{ctx: a.ctx, src: body, progress: a.progress}
	rewind := body.Rewind
	var all io.Reader = src
	if a.draft != nil {
		file := a.draft.Object(o)
		all = io.TeeReader(all, file)
		rewind = func(off int64, damage error) error {
			file.Rewind(off)
			return body.Rewind(off, damage)
		}
	}
	return input{all, func() string { return "relay " + body.Relay() }, rewind, func(err error) {
		a.bytes += src.bytes
		switch {
		case errors.Is(err, snapshot.ErrCorrupt):
			body.Refuse(err)
		case errors.Is(err, snapshot.ErrFormat), errors.Is(err, table.ErrKind):
			body.Doubt(err) // the publisher may have published it so
		}
		body.Close()
	}}, nil
}
