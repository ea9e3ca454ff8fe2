package load

import (
	"context"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// source opens the objects of a version, one after the other.
type source func(o dataset.Object) (input, error)

// input is an object that is being read.
type input struct {
	io.Reader
	from func() string // the source, for errors
	// rewind goes back to the offset of damage and continues from another source; nil if there is no other source.
	rewind func(off int64, damage error) error
	// close ends the input. err is the result of using the object.
	close func(err error)
}

// snapshotTable returns the table of the snapshot o.
func (l *Loader) snapshotTable(ctx context.Context, o dataset.Object, from source) (t *table.Table, err error) {
	in, err := from(o)
	if err != nil {
		return nil, err
	}
	defer func() { in.close(err) }()
	r, err := snapshot.NewReader(in, snapshot.Expect(o), snapshot.Rewind(in.rewind))
	if err == nil {
		cfg := l.Table
		cfg.Version = o.Version
		t, err = table.Load(ctx, r, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of version %d from %s: %w", o.Version, in.from(), err)
	}
	return t, nil
}

// applyToServed applies the deltas to base, which readers use. It returns the last table and how it differs from base. The tables in
// between are never served.
func (l *Loader) applyToServed(ctx context.Context, base *table.Table, deltas []dataset.Object, from source) (*table.Table, *table.Changes, error) {
	var all *table.Changes
	for _, o := range deltas {
		changes, err := l.applyDelta(ctx, base, o, from)
		if err != nil {
			return nil, nil, err
		}
		base = changes.New()
		if all == nil {
			all = changes
		} else {
			all = all.Then(changes)
		}
	}
	return base, all, nil
}

// applyToNew applies the deltas to base, which no reader uses. It does not keep the changes, so that replaced memory is garbage at
// once.
func (l *Loader) applyToNew(ctx context.Context, base *table.Table, deltas []dataset.Object, from source) (*table.Table, error) {
	for _, o := range deltas {
		changes, err := l.applyDelta(ctx, base, o, from)
		if err != nil {
			return nil, err
		}
		base = changes.New()
	}
	return base, nil
}

func (l *Loader) applyDelta(ctx context.Context, base *table.Table, o dataset.Object, from source) (changes *table.Changes, err error) {
	in, err := from(o)
	if err != nil {
		return nil, &deltaError{object: o, content: errors.Is(err, pull.ErrAnswer), err: err}
	}
	defer func() { in.close(err) }()
	src := &reader{ctx: ctx, src: in, progress: func() {}}
	r, err := snapshot.NewReader(src, snapshot.Expect(o), snapshot.Rewind(in.rewind))
	if err == nil {
		cfg := l.Table
		cfg.Version = o.Version
		_, changes, err = table.Apply(ctx, base, r, cfg)
	}
	if err != nil {
		return nil, &deltaError{
			object: o, content: src.err == nil && ctx.Err() == nil || errors.Is(err, pull.ErrAnswer),
			err: fmt.Errorf("from %s: %w", in.from(), err),
		}
	}
	return changes, nil
}

// verify returns an error if t is not the version rec.
func verify(t *table.Table, rec dataset.VersionRecord) error {
	if t.State() != rec.State {
		return fmt.Errorf("%w: its state checksum is %s, the record says %s", ErrMismatch, t.State(), rec.State)
	}
	if t.Seed() != uint64(rec.Seed) {
		return fmt.Errorf("%w: its seed is %016x, the record says %016x", ErrMismatch, t.Seed(), uint64(rec.Seed))
	}
	return nil
}
