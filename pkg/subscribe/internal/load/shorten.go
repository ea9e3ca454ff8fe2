package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"weak"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/table"
)

// maxCachedDeltas bounds the files in a dataset's folder, the length of version.json (some 150 bytes for each, written
// with each refresh) and the applications at a start.
const maxCachedDeltas = 256

// A try that failed is made again after firstPause, then after twice as long each time up to lastPause, give or take
// half: each may walk a whole table, and fill a disk to the brim for as long as it takes.
const (
	firstPause = time.Second
	lastPause  = 10 * time.Minute
)

// Shortener puts new snapshots, written from the tables, in the place of the cached deltas that have become many: when
// their bytes exceed half of the cached snapshot's, or their number maxCachedDeltas. It does that beside the lanes, one
// dataset at a time and compressing on one goroutine, because it takes as long as the dataset is big and no refresh may
// wait for that. While it writes, lanes go on adding deltas; those stay.
//
// A delta that could not be kept leaves a gap between what is cached and what is served. The cached version then stays
// where it is until a new snapshot closes the gap, because the deltas of the gap have gone by: to pull them again for
// the folder alone would ask the relays for bytes just when many instances fail.
//
// After a failure, refreshes go on, and do not hasten the next try of their dataset: it is made for the version that is
// served then. A full load that was kept makes it needless.
type Shortener struct {
	cache *cachedir.Dir
	wake  chan struct{} // has room for one: something is due

	mu     sync.Mutex
	due    map[string]waiting     // the newest of each dataset, until it is done or needless; guarded by mu
	failed map[string]failure     // tries; guarded by mu
	kept   map[string]dataset.Ref // what was cached after the last try that succeeded; guarded by mu
}

// waiting is a version whose snapshot is due. It must not keep the table in memory when a later one has taken its
// place, of which the Shortener hears only when that is in the cache folder or could not be kept there.
type waiting struct {
	rec   dataset.VersionRecord
	table weak.Pointer[table.Table]
}

type pending struct {
	rec   dataset.VersionRecord
	table *table.Table
}

// failure is what is known of a dataset whose last try failed.
type failure struct {
	err    error
	retry  time.Time
	pauses *backoff.ExponentialBackOff
}

// NewShortener returns the Shortener of the cache folder. It does nothing until Run.
func NewShortener(cache *cachedir.Dir) *Shortener {
	return &Shortener{
		cache: cache, wake: make(chan struct{}, 1),
		due: make(map[string]waiting), failed: make(map[string]failure), kept: make(map[string]dataset.Ref),
	}
}

// consider looks at what is cached now that t, the table of rec, is served, and has it shortened if that is due. If the folder hangs,
// that is looked at when it does no longer.
func (s *Shortener) consider(rec dataset.VersionRecord, t *table.Table) error {
	return s.considerIf(rec, weak.Make(t))
}

// considerIf is consider for a table that may be gone.
func (s *Shortener) considerIf(rec dataset.VersionRecord, t weak.Pointer[table.Table]) error {
	due, err := s.wanted(rec)
	if errors.Is(err, cachedir.ErrHangs) {
		due, err = true, nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !due { // what could not be done need not be done any more
		delete(s.due, rec.Dataset)
		delete(s.failed, rec.Dataset)
		return nil
	}
	s.due[rec.Dataset] = waiting{rec, t}
	s.Wake()
	return nil
}

// Wake makes Run look for what is due, also after the folder hung.
func (s *Shortener) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Failed returns why the last try for the dataset failed; nil if it did not, and once there is nothing left to be done.
func (s *Shortener) Failed(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[name].err
}

// Kept returns the version that was cached after the last try that succeeded: if the refresh that brought it could not keep it,
// the try has.
func (s *Shortener) Kept(name string) dataset.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name]
}

// CacheError returns why the served version is not in the cache folder; nil if it is. finish is the error of the refresh that
// brought the version. Another version of its number, or a higher one of a history that a restore ended, does not stand for it.
func (s *Shortener) CacheError(name string, served dataset.Ref, finish error) error {
	if finish != nil && s.Kept(name) != served {
		return finish
	}
	return s.Failed(name)
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
	older := held.Record.Version < rec.Version || held.Record.Version == rec.Version && held.Record.VersionID() != rec.VersionID()
	return older || held.DeltaBytes() > held.SnapshotBytes()/2 || len(held.Chain) > 1+maxCachedDeltas, nil
}

// Run writes what is due until ctx ends. It tells done of each try.
func (s *Shortener) Run(ctx context.Context, done func(name string, err error)) error {
	for {
		name, v, ok := s.next(time.Now())
		if !ok {
			if !s.wait(ctx) {
				return nil
			}
			continue
		}
		err := guard.Try(func() error { return s.shorten(ctx, v) })
		if ctx.Err() != nil {
			return nil
		}
		done(name, s.tried(time.Now(), name, v, err))
	}
}

// wait returns when something may be due; false when ctx has ended.
func (s *Shortener) wait(ctx context.Context) bool {
	var retry <-chan time.Time
	if at, ok := s.retry(); ok {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		retry = timer.C
	}
	select {
	case <-s.wake:
	case <-retry:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// retry returns when the first dataset whose try failed is due again; ok is false if there is none.
func (s *Shortener) retry() (at time.Time, ok bool) {
	if s.cache.Hangs() != nil {
		return time.Time{}, false // Wake tells when it does no longer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.due {
		if t := s.failed[name].retry; !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// next returns what is due now. It stays due until tried.
func (s *Shortener) next(now time.Time) (name string, v pending, ok bool) {
	if s.cache.Hangs() != nil {
		return "", pending{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, w := range s.due {
		if s.failed[name].retry.After(now) {
			continue
		}
		if t := w.table.Value(); t != nil {
			return name, pending{w.rec, t}, true
		}
		delete(s.due, name) // a later version is served; consider will hear of it, if it has not
	}
	return "", pending{}, false
}

// tried takes note of what became of v, and returns err, or nil if v has become needless.
func (s *Shortener) tried(now time.Time, name string, v pending, err error) error {
	var held cachedir.Held
	heldErr := err
	if err == nil {
		// Not v: a try leaves a version with a higher number where it is, also one that is not in the store's history.
		held, heldErr = s.cache.Held(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.due[name]
	if ok && err != nil {
		f := s.failed[name]
		if f.pauses == nil {
			f.pauses = &backoff.ExponentialBackOff{
				InitialInterval: firstPause, MaxInterval: lastPause, Multiplier: 2, RandomizationFactor: 0.5,
			}
			f.pauses.Reset()
		}
		// Also after a hang, at the end of which Wake calls: a disk that pauses again and again costs few tries.
		f.err, f.retry = err, now.Add(f.pauses.NextBackOff())
		s.failed[name] = f
		return err
	}
	if heldErr == nil {
		s.kept[name] = held.Record.Ref()
	}
	delete(s.failed, name)
	if w.table == weak.Make(v.table) {
		delete(s.due, name)
	}
	return nil
}

func (s *Shortener) shorten(ctx context.Context, v pending) error {
	if due, err := s.wanted(v.rec); err != nil || !due {
		return err
	}
	// The encoded lengths of most records take two or three bytes.
	return snapshot.Cut(v.table.PayloadBytes()+3*int64(v.table.Len()), func(rawBytes int64) error { return s.put(ctx, v, rawBytes) })
}

// put puts the snapshot of v into the cache folder, in blocks for the given raw bytes.
func (s *Shortener) put(ctx context.Context, v pending, rawBytes int64) error {
	draft := s.cache.Draft(v.rec.Dataset)
	defer draft.Drop()
	bytes := size(cachedir.Chain(v.rec)) // deltas add about their bytes to the snapshot that they lead on from
	err := draft.Make(bytes, func(w io.Writer) (dataset.Object, error) { return write(ctx, w, v.table, rawBytes) })
	if err == nil {
		err = draft.Shorten(v.rec)
	}
	if errors.Is(err, cachedir.ErrOther) {
		return nil // a full load has made it shorter meanwhile
	}
	if err != nil {
		return fmt.Errorf("write a snapshot of %s, about %d bytes, to the cache folder: %w", v.rec.ID(), bytes, err)
	}
	return nil
}

// write writes the snapshot of t.
func write(ctx context.Context, dst io.Writer, t *table.Table, rawBytes int64) (dataset.Object, error) {
	w, err := snapshot.NewWriter(dst, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: t.Seed(), Workers: 1, RawBytes: rawBytes})
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
