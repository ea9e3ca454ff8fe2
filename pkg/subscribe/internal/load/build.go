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

// input is an object's bytes on their way.
type input struct {
	io.Reader
	from func() string // in words, for errors
	// rewind goes back to where damage is and reads on from another source; nil if there is none.
	rewind func(off int64, damage error) error
	// close takes what became of the object.
	close func(error)
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

// apply returns the table that the deltas lead to from base, and how it differs. The tables in between are nobody's to see.
func (l *Loader) apply(ctx context.Context, base *table.Table, deltas []dataset.Object, from source) (*table.Table, *table.Changes, error) {
	var changes *table.Changes
	for _, o := range deltas {
		step, err := l.step(ctx, base, o, from)
		if err != nil {
			return nil, nil, err
		}
		base = step.New()
		if changes == nil {
			changes = step
		} else {
			changes = changes.Then(step)
		}
	}
	return base, changes, nil
}

// follow is apply for a base that nobody has seen: what the deltas replace is garbage at once.
func (l *Loader) follow(ctx context.Context, base *table.Table, deltas []dataset.Object, from source) (*table.Table, error) {
	for _, o := range deltas {
		step, err := l.step(ctx, base, o, from)
		if err != nil {
			return nil, err
		}
		base = step.New()
	}
	return base, nil
}

// step applies one delta.
func (l *Loader) step(ctx context.Context, base *table.Table, o dataset.Object, from source) (changes *table.Changes, err error) {
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
		return nil, &deltaError{object: o, content: src.err == nil && ctx.Err() == nil || errors.Is(err, pull.ErrAnswer), err: fmt.Errorf("from %s: %w", in.from(), err)}
	}
	return changes, nil
}

// prove says how t is not the version rec.
func prove(t *table.Table, rec dataset.VersionRecord) error {
	if t.State() != rec.State {
		return fmt.Errorf("%w: its state checksum is %s, the record says %s", ErrMismatch, t.State(), rec.State)
	}
	if t.Seed() != uint64(rec.Seed) {
		return fmt.Errorf("%w: its seed is %016x, the record says %016x", ErrMismatch, t.Seed(), uint64(rec.Seed))
	}
	return nil
}
