package load

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

// Stored loads the version in the cache folder. If one of its deltas is damaged, it loads the older version that the objects
// before the delta make, and says so in Damage. A folder whose snapshot or record is damaged is discarded. The status warns of either
// until a version has been committed to the folder. It fails with [cachedir.ErrHangs] when one of its own operations hangs, and when the
// folder hangs before it has opened the version; after that it goes on when the folder hangs elsewhere.
func (l *Loader) Stored(ctx context.Context, name string, progress func()) (loaded, error) {
	if l.Cache == nil {
		return loaded{}, refresh.ErrNone
	}
	guarded := l.Guard.Begin(name)
	if errors.Is(guarded, cachedir.ErrHangs) {
		return loaded{}, guarded
	}
	v, err := l.stored(ctx, name, progress)
	if guarded != nil && !errors.Is(guarded, cachedir.ErrShared) && errors.Is(err, cachedir.ErrNone) {
		return loaded{}, guarded // the folder could not go back to a version that is not quarantined
	}
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, cachedir.ErrNone):
		return loaded{}, refresh.ErrNone
	case refused(err) || errors.Is(err, cachedir.ErrDamaged):
		return loaded{}, l.discard(name, err)
	}
	return loaded{}, err
}

// discard removes the cached version of the dataset, which damage says is of no use, and returns the error about it. The status
// warns of that error until another version is in the folder.
func (l *Loader) discard(name string, damage error) error {
	err := fmt.Errorf("%w; it was discarded, and the first version that a relay brings takes its place", damage)
	if discard := l.Cache.Discard(name); discard != nil {
		err = fmt.Errorf("%w; its files could not be removed: %w", damage, discard)
	}
	if !errors.Is(err, cachedir.ErrDamaged) {
		err = fmt.Errorf("%w: %w", cachedir.ErrDamaged, err)
	}
	l.Cache.Damaged(name, err)
	return err
}

func (l *Loader) stored(ctx context.Context, name string, progress func()) (v loaded, err error) {
	s, err := l.Cache.Stored(name)
	if err != nil {
		return loaded{}, err
	}
	defer s.Close()
	if l.Guard.Bars(name, s.Record.VersionID()) {
		return loaded{}, cachedir.ErrNone
	}
	mark, unguarded := l.Guard.Try(s.Record)
	defer func() {
		if v.Finish == nil {
			l.Guard.Undo(mark)
		}
	}()
	next := 0
	from := func(dataset.Object) (input, error) { // is called for the objects of the chain, in order
		f := s.Objects[next]
		next++
		return input{&reader{ctx: ctx, src: f, progress: progress}, f.Name, nil, func(error) {}}, nil
	}
	fail := func(err error) (loaded, error) {
		return loaded{}, fmt.Errorf("load version %s from the cache folder: %w", s.Record.ID(), err)
	}
	t, err := l.snapshotTable(ctx, s.Chain[0], from)
	if err != nil {
		return fail(err)
	}
	for i, o := range s.Chain[1:] {
		damage := s.Broken
		if next < len(s.Objects) {
			var step *table.Changes
			if step, damage = l.step(ctx, t, o, from); damage == nil {
				t = step.New()
				continue
			}
			if !refused(damage) {
				return fail(damage)
			}
		}
		if l.Guard.Bars(name, s.Chain[i+1].From) {
			return fail(damage)
		}
		return l.recover(s.Held, i+1, t, damage), nil
	}
	if err := prove(t, s.Record); err != nil {
		return fail(fmt.Errorf("%s: %w", l.Cache.RecordPath(name), err))
	}
	var settle func() error
	serve := sync.OnceFunc(func() {
		var err error
		settle, err = l.Guard.Serve(s.Record, mark)
		unguarded = errors.Join(unguarded, err)
		l.Collector.swapped(name, t, 0, true)
	})
	finish := func(swapped bool) error {
		if !swapped {
			l.Guard.Undo(mark)
			return nil
		}
		serve()
		return errors.Join(unguarded, settle())
	}
	return loaded{
		Record: s.Record, Value: t, Pull: refresh.Pull{Full: true, Deltas: len(s.Chain) - 1}, Swapped: serve, Finish: finish,
	}, nil
}

// recover returns the version of t, which the first n objects of the cached chain make. The folder lacks the record of that
// version, so the boot guard has no mark of it. The chain names its number, and the digests prove its content. The delta after it
// names its id, unless an earlier release wrote that delta.
func (l *Loader) recover(held cachedir.Held, n int, t *table.Table, damage error) loaded {
	lost := held.Chain[n]
	rec := dataset.VersionRecord{
		StoreID: held.Record.StoreID, Dataset: held.Record.Dataset, Version: lost.Version - 1, Seed: held.Record.Seed,
		State: t.State(), PayloadBytes: uint64(t.PayloadBytes()), Snapshot: held.Chain[0],
	}
	if n > 1 {
		rec.Deltas = held.Chain[1:n:n]
	}
	err := fmt.Errorf("%w: the delta to version %d (object %s) is lost, so that version %d is served until a relay brings a newer one: %w",
		cachedir.ErrDamaged, lost.Version, lost.Digest, rec.Version, damage)
	l.Cache.Damaged(rec.Dataset, err)
	return loaded{
		Record: rec, ID: lost.From, Value: t, Damage: err, Pull: refresh.Pull{Full: true, Deltas: n - 1},
	}
}
