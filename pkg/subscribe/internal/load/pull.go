package load

import (
	"context"
	"errors"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// errDrafting is why a version was not kept.
var errDrafting = errors.New("a version before it is still on its way there and does not come to an end")

// pulling is one attempt at a version: what it pulls goes to the table and to the cache folder in one pass.
type pulling struct {
	*Loader
	ctx      context.Context
	rec      dataset.VersionRecord
	progress func()
	draft    *cachedir.Draft // nil if there is no cache folder, or if the version does not go there
	drafting bool            // draft counts among Loader.drafts
	bytes    int64

	tried     bool  // the guard has a mark of the version, which is not served yet
	unguarded error // why it has none
}

func (l *Loader) begin(ctx context.Context, rec dataset.VersionRecord, progress func()) *pulling {
	p := &pulling{Loader: l, ctx: ctx, rec: rec, progress: progress}
	if l.Cache != nil {
		if p.drafting = l.draft(rec.Dataset); p.drafting {
			p.draft = l.Cache.Draft(rec.Dataset)
		}
	}
	return p
}

// draft reports whether a version of the dataset may go to the cache folder. While another one is on its way there, which
// was given up because it hangs, the disk is the most likely to hang, and the next version must not hang at it too.
func (l *Loader) draft(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drafts[name] > 0 {
		return false
	}
	if l.drafts == nil {
		l.drafts = make(map[string]int)
	}
	l.drafts[name]++
	return true
}

// drop removes what was written to the cache folder and not committed.
func (p *pulling) drop() {
	if p.tried {
		p.tried = false
		p.Guard.Undo(p.rec)
	}
	if p.draft != nil {
		p.draft.Drop()
	}
	if p.drafting {
		p.drafting = false
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drafts[p.rec.Dataset]--
	}
}

// deltas makes the version of what is served and the deltas.
func (p *pulling) deltas(served *served, deltas []dataset.Object) (v loaded, err error) {
	defer p.dropOnPanic()
	t, changes, err := p.apply(p.ctx, served.Value, deltas, p.open)
	if err == nil {
		err = prove(t, p.rec)
	}
	if err != nil {
		return loaded{}, err
	}
	base := served.Record
	v = loaded{
		Record: p.rec, Value: t, Difference: changes,
		Pull: refresh.Pull{Bytes: p.bytes, Deltas: len(deltas)},
	}
	v.Finish = p.finish(func() error { return p.draft.Extend(base, p.rec) }, t, changes.Replaced())
	return v, nil
}

// full makes the version of its snapshot and the deltas that lead on from it.
func (p *pulling) full(served *served) (v loaded, err error) {
	defer p.dropOnPanic()
	chain := cachedir.Chain(p.rec)
	t, err := p.snapshotTable(p.ctx, chain[0], p.open)
	if err == nil {
		t, err = p.follow(p.ctx, t, chain[1:], p.open)
	}
	if err == nil {
		err = prove(t, p.rec)
	}
	if err != nil {
		return loaded{}, err
	}
	replaced := int64(0)
	if served != nil {
		replaced = served.Value.Bytes()
	}
	v = loaded{
		Record: p.rec, Value: t,
		Pull: refresh.Pull{Bytes: p.bytes, Full: true, Deltas: len(chain) - 1},
	}
	v.Finish = p.finish(func() error { return p.draft.Commit(p.rec) }, t, replaced)
	return v, nil
}

func (p *pulling) dropOnPanic() {
	if r := recover(); r != nil {
		p.drop()
		panic(r)
	}
}

// finish returns what is to be done after the swap: to keep the version, and to say what memory was replaced.
func (p *pulling) finish(commit func() error, t *table.Table, replaced int64) func(swapped bool) error {
	keep := p.keep(commit, t)
	return func(swapped bool) error {
		unguarded := p.unguarded
		if swapped {
			p.tried = false
			unguarded = errors.Join(unguarded, p.Guard.Swapped(p.rec))
			if p.Collector != nil {
				p.Collector.swapped(p.rec.Dataset, t, replaced)
			}
		}
		return errors.Join(keep(swapped), unguarded)
	}
}

// keep returns what commits the version to the cache folder if it was swapped in.
func (p *pulling) keep(commit func() error, t *table.Table) func(swapped bool) error {
	return func(swapped bool) error {
		defer p.drop()
		switch {
		case p.Cache == nil || !swapped:
			return nil
		case p.draft == nil:
			return errDrafting
		}
		err := commit()
		if errors.Is(err, cachedir.ErrOther) {
			err = nil // what was cached before is not what the deltas start from: a snapshot of the table makes up for it
		}
		if p.Shortener != nil {
			err = errors.Join(err, p.Shortener.consider(p.rec, t))
		}
		return err
	}
}

// open pulls an object. What a relay gave wrong is pulled anew from another, a block at a time.
func (p *pulling) open(o dataset.Object) (input, error) {
	body, err := p.Pull.Object(p.ctx, o, p.progress)
	if err != nil {
		return input{}, err
	}
	if !p.tried { // not before there are bytes: a relay that is down says nothing about the version
		p.tried, p.unguarded = true, p.Guard.Try(p.rec)
	}
	src := &reader{ctx: p.ctx, src: body, progress: p.progress}
	rewind := body.Rewind
	var all io.Reader = src
	if p.draft != nil {
		file := p.draft.Object(o)
		all = io.TeeReader(all, file)
		rewind = func(off int64, damage error) error {
			file.Rewind(off)
			return body.Rewind(off, damage)
		}
	}
	return input{all, func() string { return "relay " + body.Relay() }, rewind, func(err error) {
		p.bytes += src.bytes
		switch {
		case errors.Is(err, snapshot.ErrCorrupt):
			body.Refuse(err)
		case errors.Is(err, snapshot.ErrFormat), errors.Is(err, table.ErrKind):
			body.Doubt(err) // it may be what was published
		}
		body.Close()
	}}, nil
}
