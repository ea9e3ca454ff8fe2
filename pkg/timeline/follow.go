package timeline

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"time"

	"freshet.dev/pkg/store"
)

const (
	// sweepEvery is how often Follow reads without a reported change. An event that was not announced, because NATS was down for its
	// sender or denied it, is then found.
	sweepEvery = time.Minute
	// followRetry is the pause before a read that failed is repeated.
	followRetry = time.Second
)

// ReadFunc reads all events that a query selects, as [Reader.Read] does without a limit.
type ReadFunc func(ctx context.Context, q Query, yield func(Event) error) (after Positions, err error)

// Follow calls yield for the events that q selects, and then for each further one, in the order of each dataset's sequences, until ctx ends.
// It returns nil then. No event is lost or repeated.
//
// The channel changes has the names of datasets that have changed, as [freshet.dev/pkg/events.Watcher.Changes] has them. Follow reads
// nothing before the first one. If a later read fails, Follow calls failed, and repeats the read until it succeeds. An error of yield,
// or of the first read, ends Follow.
func Follow(ctx context.Context, q Query, read ReadFunc, changes <-chan string, yield func(Event) error, failed func(error)) error {
	f := &follower{query: q, read: read, dirty: map[string]bool{}}
	f.yield = func(e Event) error {
		f.yielded = yield(e)
		return f.yielded
	}
	select {
	case <-ctx.Done():
		return nil
	case <-changes:
	}
	var err error
	if f.after, err = read(ctx, q, f.yield); err != nil {
		return unlessEnded(ctx, err)
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-changes:
			f.dirty[name] = true
		case <-sweep.C:
			f.dirty[""] = true
		case <-retry:
		}
		retry = nil
		if err := f.catchUp(ctx); err != nil {
			if f.yielded != nil || ctx.Err() != nil {
				return unlessEnded(ctx, err)
			}
			failed(err)
			retry = time.After(followRetry)
		}
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// follower is the state of one Follow.
type follower struct {
	query   Query
	read    ReadFunc
	yield   func(Event) error
	yielded error // of yield
	after   Positions
	dirty   map[string]bool // the datasets to read; an empty name means all
}

// catchUp reads the datasets that have changed. If all are to be read and that fails, those that are known to have changed may succeed.
func (f *follower) catchUp(ctx context.Context) error {
	var failed error
	if f.dirty[""] {
		if failed = f.from(ctx, f.query.Dataset); failed == nil {
			clear(f.dirty)
		}
	}
	for name := range f.dirty {
		if name == "" {
			continue
		}
		if f.yielded != nil || ctx.Err() != nil {
			break
		}
		if err := f.from(ctx, name); err != nil {
			return cmp.Or(failed, err)
		}
		delete(f.dirty, name)
	}
	return failed
}

// from reads the events of the dataset, or of all if name is empty, after those that were read. A read that fails half-way counts for
// the events that it yielded.
func (f *follower) from(ctx context.Context, name string) error {
	after := f.after
	if name != "" {
		after = after.Of(name)
	}
	got, err := f.read(ctx, Query{Dataset: name, After: after}, func(e Event) error {
		if err := f.yield(e); err != nil {
			return err
		}
		f.passed(e)
		return nil
	})
	if errors.Is(err, store.ErrNotFound) && name != "" {
		return nil // the message was of another store
	}
	if err == nil {
		maps.Copy(f.after, got)
	}
	return err
}

// passed records that the event was yielded.
func (f *follower) passed(e Event) {
	at := f.after[e.Dataset]
	switch {
	case e.Version != nil, e.Damaged != nil && e.Damaged.Version > 0:
		at.Version = e.number()
	case e.Entry != nil, e.Damaged != nil && e.Damaged.Entry > 0:
		at.Entry = e.number()
	default:
		return
	}
	f.after[e.Dataset] = at
}
