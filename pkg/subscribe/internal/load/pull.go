package load

import (
	"context"
	"errors"
	"io"
	"sync"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// errDrafting is why a version was not kept.
var errDrafting = errors.New("versions before it are still on their way there")

// maxDrafts is how many versions of a dataset may be on their way to the cache folder. Each holds a part of its objects in memory,
// and none of them its table.
const maxDrafts = 4

// pulling is one attempt at a version: what it pulls goes to the table and to the cache folder in one pass.
type pulling struct {
	*Loader
	ctx      context.Context
	rec      dataset.VersionRecord
	progress func()
	draft    *cachedir.Draft // nil if there is no cache folder, or if the version does not go there
	drafting bool            // draft counts among Loader.drafts
	passed   error           // why draft is nil although there is a cache folder
	bytes    int64

	tried     bool            // the guard was asked for a mark of the version, which is not served yet
	mark      *bootguard.Mark // nil if the guard has none
	unguarded error           // why it has none
	settle    func() error    // what the guard has to do after the swap; nil before
}

func (l *Loader) begin(ctx context.Context, rec dataset.VersionRecord, progress func()) *pulling {
	p := &pulling{Loader: l, ctx: ctx, rec: rec, progress: progress}
	if l.Cache != nil {
		switch p.passed = l.Cache.Hangs(); {
		case p.passed != nil:
		case l.draft(rec.Dataset):
			p.drafting, p.draft = true, l.Cache.Draft(rec.Dataset)
		default:
			p.passed = errDrafting
		}
	}
	return p
}

// draft reports whether a version of the dataset may go to the cache folder, where versions before it may be on their way to.
func (l *Loader) draft(name string) bool {
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

// drop removes what was written to the cache folder and not committed.
func (p *pulling) drop() {
	if p.tried {
		p.tried = false
		p.Guard.Undo(p.mark)
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
	p.finish(&v, func() error { return p.draft.Extend(base, p.rec) }, changes.Replaced(), false)
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
	p.finish(&v, func() error { return p.draft.Commit(p.rec) }, replaced, true)
	return v, nil
}

func (p *pulling) dropOnPanic() {
	if r := recover(); r != nil {
		p.drop()
		panic(r)
	}
}

// finish sets what is to be done after the swap of v: at once, to say what memory was replaced and what is tried; and later, where
// it may take its time, to keep the version. What comes later does not hold the table: many versions may be swapped in before.
func (p *pulling) finish(v *loaded, commit func() error, replaced int64, full bool) {
	t := v.Value
	serve := sync.OnceFunc(func() {
		p.tried = false
		settle, err := p.Guard.Serve(p.rec, p.mark)
		p.settle, p.unguarded = settle, errors.Join(p.unguarded, err)
		p.Collector.swapped(p.rec.Dataset, t, replaced, full)
		t = nil
	})
	kept := weak.Make(t)
	v.Swapped = serve
	if p.draft != nil {
		v.Abandon = p.draft.Abandon
	}
	v.Finish = func(swapped bool) error {
		defer p.drop()
		if !swapped {
			return p.unguarded
		}
		serve()
		return errors.Join(p.settle(), p.keep(commit, kept), p.unguarded)
	}
}

// keep commits the version to the cache folder. A snapshot of the table makes up for one that could not be.
func (p *pulling) keep(commit func() error, t weak.Pointer[table.Table]) error {
	if p.Cache == nil {
		return nil
	}
	err := p.passed
	if p.draft != nil {
		if err = commit(); errors.Is(err, cachedir.ErrOther) {
			err = nil // what was cached before is not what the deltas start from
		}
	}
	if p.Shortener != nil {
		err = errors.Join(err, p.Shortener.considerIf(p.rec, t))
	}
	return err
}

// open pulls an object. What a relay gave wrong is pulled anew from another, a block at a time.
func (p *pulling) open(o dataset.Object) (input, error) {
	body, err := p.Pull.Object(p.ctx, o, p.progress)
	if err != nil {
		return input{}, err
	}
	if !p.tried { // not before there are bytes: a relay that is down says nothing about the version
		p.tried = true
		p.mark, p.unguarded = p.Guard.Try(p.rec)
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
