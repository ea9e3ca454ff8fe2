package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// lostError says that changes cannot be counted because the version before cannot be read. Only the next version can
// heal a dataset whose newest version is lost, so this must not be in the way of a commit.
type lostError struct {
	before dataset.VersionRecord
	err    error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("the changes from version %s are not counted, because it cannot be read: %v", e.before.ID(), e.err)
}

func (e *lostError) Unwrap() error { return e.err }

// changes counts how the draft differs from the version before it. It reads both as streams: memory does not follow
// their size. The error is a *lostError if the version before is damaged for good.
func (p *Publisher) changes(ctx context.Context, d *draft, before dataset.VersionRecord) (dataset.Changes, error) {
	switch {
	case before.Version == 0:
		return dataset.Changes{Added: d.totals.Entries}, nil
	case before.Snapshot.Version != before.Version:
		return dataset.Changes{}, &lostError{before, errors.New("it is made of deltas, which this publisher does not know")}
	}
	c, err := p.diff(ctx, d, before)
	if err == nil {
		return c, nil
	}
	for _, lost := range []error{store.ErrNotFound, store.ErrDamaged, snapshot.ErrCorrupt, snapshot.ErrFormat} {
		if errors.Is(err, lost) {
			return dataset.Changes{}, &lostError{before, err}
		}
	}
	return dataset.Changes{}, err
}

func (p *Publisher) diff(ctx context.Context, d *draft, before dataset.VersionRecord) (c dataset.Changes, err error) {
	old, err := p.deps.Store.OpenObject(ctx, before.Snapshot.Digest, 0, -1)
	if err != nil {
		return c, fmt.Errorf("read version %s: %w", before.ID(), err)
	}
	defer old.Close()
	oldReader, err := snapshot.NewReader(old, snapshot.Expect(before.Snapshot))
	if err != nil {
		return c, fmt.Errorf("read version %s: %w", before.ID(), err)
	}
	f, err := d.open()
	if err != nil {
		return c, err
	}
	defer f.Close()
	newReader, err := snapshot.NewReader(f)
	if err != nil {
		return c, err
	}
	for change, err := range snapshot.Diff(d.seed, checked(ctx, oldReader.Records()), newReader.Records()) {
		if err != nil {
			return c, fmt.Errorf("compare with version %s: %w", before.ID(), err)
		}
		switch change.Op {
		case snapshot.Added:
			c.Added++
		case snapshot.Changed:
			c.Changed++
		case snapshot.Removed:
			c.Removed++
		}
	}
	return c, nil
}

// checked ends records when ctx does.
func checked(ctx context.Context, records iter.Seq2[dataset.Record, error]) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		n := 0
		for rec, err := range records {
			if n%progressEvery == 0 && ctx.Err() != nil {
				yield(dataset.Record{}, context.Cause(ctx))
				return
			}
			n++
			if !yield(rec, err) {
				return
			}
		}
	}
}
