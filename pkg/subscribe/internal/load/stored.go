package load

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/oneline"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// Stored loads the version in the cache folder. If one of its deltas is damaged, Stored loads the older version that the objects before the
// delta make, and returns the error in Damage. If the snapshot or the record is damaged, Stored discards the cached version. The status
// warns of either until a version is committed to the folder.
//
// Stored fails with [cachedir.ErrHangs] if one of its own operations hangs, or if the folder hangs before Stored has opened the version.
// After that, it ignores operations of others that hang.
func (l *Loader) Stored(ctx context.Context, name string, progress func()) (loaded, error) {
	if l.Cache == nil {
		return loaded{}, refresh.ErrNone
	}
	unguarded := l.Guard.Begin(name)
	if errors.Is(unguarded, cachedir.ErrHangs) {
		return loaded{}, unguarded
	}
	v, err := l.stored(ctx, name, progress)
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, cachedir.ErrNone):
		if unguarded != nil && !errors.Is(unguarded, cachedir.ErrShared) {
			return loaded{}, unguarded // the guard could not restore a version that is not quarantined
		}
		return loaded{}, refresh.ErrNone
	case isContentError(err) || errors.Is(err, cachedir.ErrDamaged):
		return loaded{}, l.discard(name, err)
	}
	return loaded{}, err
}

// discard removes the dataset's cached version, which is damaged, and returns the error about it. The status warns of that error until
// another version is in the folder.
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

// stored loads the cached version, or the older one that its undamaged objects make.
func (l *Loader) stored(ctx context.Context, name string, progress func()) (v loaded, err error) {
	s, err := l.Cache.Stored(name)
	if err != nil {
		return loaded{}, err
	}
	defer s.Close()
	if l.Guard.Bars(name, s.Record.VersionID()) {
		return loaded{}, cachedir.ErrNone
	}
	if s.Record.Deleted { // its table was dropped
		return loaded{Record: s.Record, NoValue: true}, nil
	}
	admitted, err := l.Bounds.Full(s.Record)
	if err != nil {
		return loaded{}, err
	}
	defer func() {
		if admitted.Release(); v.Value != nil {
			l.Bounds.Served(name, v.Value.Bytes()) // now: it is served at once, and an older version has no Swapped
		}
	}()
	mark := &guardMark{guard: l.Guard, rec: s.Record}
	mark.set()
	defer func() {
		if v.Finish == nil {
			mark.undo()
		}
	}()
	t, n, damage, err := l.storedTable(ctx, s, progress)
	switch {
	case err != nil:
	case n == len(s.Chain):
		if err = verify(t, s.Record); err != nil {
			err = fmt.Errorf("%s: %w", l.Cache.RecordPath(name), err)
		} else if t.Version() != s.Record.Version {
			t, _ = t.As(s.Record.Version) // the objects make the version that a rollback restored
		}
	case l.Guard.Bars(name, s.Chain[n].From):
		err = damage // the older version is quarantined
	default:
		return l.olderVersion(s.Held, n, t, damage), nil
	}
	if err != nil {
		return loaded{}, fmt.Errorf("load version %s from the cache folder: %w", s.Record.ID(), err)
	}
	serve := sync.OnceFunc(func() {
		mark.serve()
		l.Roots.Swapped(roots.Swap{Dataset: name, To: roots.Root{Ref: s.Record.Ref(), Table: t}})
		l.Collector.swapped(name, t, 0, 0, true)
	})
	finish := func(swapped bool) error {
		if !swapped {
			mark.undo()
			return nil
		}
		serve()
		return oneline.Join(mark.err, mark.settle())
	}
	return loaded{
		Record: s.Record, Value: t, Pull: refresh.Pull{Full: true, Deltas: len(s.Chain) - 1}, Swapped: serve, Finish: finish,
	}, nil
}

// storedTable returns the table that the first n objects of the cached chain make. If n is not the length of the chain, damage is why the
// next object cannot be applied.
func (l *Loader) storedTable(ctx context.Context, s *cachedir.Stored, progress func()) (t *table.Table, n int, damage, err error) {
	opened := 0
	from := func(dataset.Object) (input, error) { // called for the objects of the chain, in order
		f := s.Objects[opened]
		opened++
		return input{&reader{ctx: ctx, src: f, progress: progress}, f.Name, nil, func(error) {}}, nil
	}
	t, err = l.snapshotTable(ctx, s.Chain[0], from)
	if err != nil {
		return nil, 0, nil, err
	}
	for i, o := range s.Chain[1:] {
		if opened == len(s.Objects) {
			return t, i + 1, s.Broken, nil
		}
		changes, err := l.applyDelta(ctx, t, o, from)
		if err != nil {
			if isContentError(err) {
				return t, i + 1, err, nil
			}
			return nil, 0, nil, err
		}
		t = changes.New()
	}
	return t, len(s.Chain), nil, nil
}

// olderVersion returns the version with the table t, which the first n objects of the cached chain make. The folder lacks the record of
// that version, so the boot guard has no mark of it. The chain states its number, and the digests prove its content. The delta after it
// states its id, unless an earlier release wrote that delta.
func (l *Loader) olderVersion(held cachedir.Held, n int, t *table.Table, damage error) loaded {
	lost := held.Chain[n]
	rec := dataset.VersionRecord{
		StoreID: held.Record.StoreID, Dataset: held.Record.Dataset, Version: lost.Version - 1, Seed: held.Record.Seed,
		State: t.State(), PayloadBytes: uint64(t.PayloadBytes()), Snapshot: held.Chain[0],
	}
	if n > 1 && held.Chain[n-1].Version == rec.Version {
		rec.Deltas = held.Chain[1:n:n]
	}
	if t.Version() != rec.Version {
		t, _ = t.As(rec.Version) // a rollback, see stored
	}
	err := fmt.Errorf("%w: the delta to version %d (object %s) is lost, so that version %d is served until a relay brings a newer one: %w",
		cachedir.ErrDamaged, lost.Version, lost.Digest, rec.Version, damage)
	l.Cache.Damaged(rec.Dataset, err)
	return loaded{
		Record: rec, ID: lost.From, Value: t, Damage: err, Pull: refresh.Pull{Full: true, Deltas: n - 1},
	}
}
