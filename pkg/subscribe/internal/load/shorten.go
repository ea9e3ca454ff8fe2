package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/guard"
	"freshet.dev/pkg/table"
)

// maxCachedDeltas bounds the files in a dataset's folder, the length of version.json (some 150 bytes for each, written with each
// refresh) and the applications at a start.
const maxCachedDeltas = 256

// Shortener puts new snapshots, written from the tables, in the place of the cached deltas that have become many: when
// their bytes exceed half of the cached snapshot's, or their number maxCachedDeltas. It does that beside the lanes, one dataset at a
// time and compressing on one goroutine, because it takes as long as the dataset is big and no refresh may wait for that. While it
// writes, lanes go on adding deltas; those stay.
type Shortener struct {
	cache *cachedir.Dir
	wake  chan struct{} // has room for one: something is due

	mu     sync.Mutex
	due    map[string]pending // the newest of each dataset; guarded by mu
	failed map[string]error   // of the last try; guarded by mu
}

type pending struct {
	rec   dataset.VersionRecord
	table *table.Table
}

// NewShortener returns the Shortener of the cache folder. It does nothing until Run.
func NewShortener(cache *cachedir.Dir) *Shortener {
	return &Shortener{cache: cache, wake: make(chan struct{}, 1), due: make(map[string]pending), failed: make(map[string]error)}
}

// consider looks at what is cached now that t, the table of rec, is served, and has it shortened if that is due.
func (s *Shortener) consider(rec dataset.VersionRecord, t *table.Table) error {
	due, err := s.wanted(rec)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !due {
		delete(s.failed, rec.Dataset) // what could not be done need not be done any more
		return nil
	}
	s.due[rec.Dataset] = pending{rec, t}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Failed returns why the last try for the dataset failed; nil if it did not, and once there is nothing left to be done.
func (s *Shortener) Failed(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[name]
}

// wanted reports whether what is cached is older than rec, or has too many deltas.
func (s *Shortener) wanted(rec dataset.VersionRecord) (bool, error) {
	held, err := s.cache.Held(rec.Dataset)
	if errors.Is(err, cachedir.ErrNone) || errors.Is(err, cachedir.ErrDamaged) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return held.Record.Version < rec.Version || held.DeltaBytes() > held.SnapshotBytes()/2 || len(held.Chain) > 1+maxCachedDeltas, nil
}

// Run writes what is due until ctx ends. It tells done of each try.
func (s *Shortener) Run(ctx context.Context, done func(name string, err error)) error {
	for {
		name, v, ok := s.next()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := guard.Try(func() error { return s.shorten(ctx, v) })
		if ctx.Err() != nil {
			return nil
		}
		s.mu.Lock()
		s.failed[name] = err
		s.mu.Unlock()
		done(name, err)
	}
}

func (s *Shortener) next() (name string, v pending, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, v = range s.due {
		delete(s.due, name)
		return name, v, true
	}
	return "", pending{}, false
}

func (s *Shortener) shorten(ctx context.Context, v pending) error {
	if due, err := s.wanted(v.rec); err != nil || !due {
		return err
	}
	draft := s.cache.Draft(v.rec.Dataset)
	defer draft.Drop()
	err := draft.Make(func(w io.Writer) (dataset.Object, error) { return write(ctx, w, v.table) })
	if err == nil {
		err = draft.Shorten(v.rec)
	}
	if errors.Is(err, cachedir.ErrOther) {
		return nil // a full load has made it shorter meanwhile
	}
	if err != nil {
		return fmt.Errorf("write a snapshot of %s to the cache folder: %w", v.rec.ID(), err)
	}
	return nil
}

// write writes the snapshot of t.
func write(ctx context.Context, dst io.Writer, t *table.Table) (dataset.Object, error) {
	w, err := snapshot.NewWriter(dst, snapshot.WriterConfig{
		Kind: snapshot.Snapshot, Seed: t.Seed(), Workers: 1,
		RawBytes: t.PayloadBytes() + 3*int64(t.Len()), // of most records the lengths take two or three bytes
	})
	if err != nil {
		return dataset.Object{}, err
	}
	defer w.Abort()
	for key, value := range t.All() {
		if ctx.Err() != nil {
			return dataset.Object{}, context.Cause(ctx)
		}
		if err := w.Add(dataset.Record{Key: key, Value: value}); err != nil {
			return dataset.Object{}, err
		}
	}
	totals, err := w.Close()
	if err != nil {
		return dataset.Object{}, err
	}
	if totals.State != t.State() {
		return dataset.Object{}, fmt.Errorf("%w: what the table holds is %v, and it should be %v", ErrMismatch, totals.State, t.State())
	}
	return dataset.Object{Version: t.Version(), Digest: totals.Digest, Bytes: totals.FileBytes}, nil
}
