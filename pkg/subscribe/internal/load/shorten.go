package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/table"
)

// maxCachedDeltas bounds the files in a dataset's folder, the length of version.json (about 150 bytes for each delta, written
// with each refresh) and the deltas to apply at a start.
const maxCachedDeltas = 256

// yieldRecords is how many records are written between two calls of [lane.Yield].
const yieldRecords = 512

// The pauses after failed tries. Each try may walk a whole table, and may fill the disk while it runs.
const (
	minShortenPause = time.Second
	maxShortenPause = 10 * time.Minute
)

// Shortener replaces cached deltas by a new snapshot, which it writes from the served table, when their bytes exceed half of the
// cached snapshot's or their number exceeds maxCachedDeltas. It works in the background, on one dataset at a time and with one
// compressing goroutine, because a try takes as long as the dataset is large. Refreshes continue to append deltas while it writes; those stay.
//
// A delta that could not be cached leaves a gap between the cached and the served version. The cached version stays as it is
// until a new snapshot closes the gap. Pulling the deltas again only for the cache would load the relays just when many instances
// fail.
//
// After a failure, the next try writes the version that is served then. Refreshes do not hasten it. A full load that was cached makes it
// needless.
type Shortener struct {
	// Lane is where snapshots are compressed; nil for none. It must not change after Run.
	Lane *lane.Lane

	cache *cachedir.Dir
	wake  wake.Signal // a try is due

	mu     sync.Mutex
	due    map[string]shortening  // by dataset, until it is done or needless; guarded by mu
	failed map[string]shortenFail // by dataset, if the last try failed; guarded by mu
	kept   map[string]dataset.Ref // by dataset, the cached version after the last successful try; guarded by mu
	served map[string]uint64      // by dataset, the number of the version that was swapped in last; guarded by mu
}

// shortening is a version whose snapshot is due. It must not keep the table in memory after a later version was swapped in, which the
// Shortener learns only when that version is cached, or could not be.
type shortening struct {
	rec   dataset.VersionRecord
	table weak.Pointer[table.Table]
}

// shortenTry is a try at a snapshot.
type shortenTry struct {
	rec   dataset.VersionRecord
	table *table.Table
}

// shortenFail is the failure of a dataset's last try.
type shortenFail struct {
	err     error
	retryAt time.Time
	backoff *backoff.Backoff
}

// NewShortener returns the Shortener of the cache folder. It does nothing until Run.
func NewShortener(cache *cachedir.Dir) *Shortener {
	return &Shortener{
		cache: cache, wake: wake.New(),
		due: make(map[string]shortening), failed: make(map[string]shortenFail), kept: make(map[string]dataset.Ref),
		served: make(map[string]uint64),
	}
}

// swapped tells a nil or other Shortener that a version is served. A pin may have made it a lower one than that of a try in progress, and
// that try must not replace the pinned version in the cache folder.
func (s *Shortener) swapped(name string, version uint64) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[name] = version
}

// left reports whether a lower version than the given one is served.
func (s *Shortener) left(name string, version uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	served, ok := s.served[name]
	return ok && served < version
}

// request requests a snapshot of the served version rec if the cached version needs one. t is its table, which may have been replaced. If the
// folder hangs, the check takes place when it works again.
func (s *Shortener) request(rec dataset.VersionRecord, t weak.Pointer[table.Table]) error {
	needed, err := s.needed(rec)
	if errors.Is(err, cachedir.ErrHangs) {
		needed, err = true, nil
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !needed { // nor is a retry of an earlier try
		delete(s.due, rec.Dataset)
		delete(s.failed, rec.Dataset)
		return nil
	}
	s.due[rec.Dataset] = shortening{rec, t}
	s.Wake()
	return nil
}

// Wake makes Run check what is due. Call it also when the folder works again after it hung.
func (s *Shortener) Wake() { s.wake.Set() }

// Failed returns the error of the dataset's last try; nil if the try succeeded or is no longer needed.
func (s *Shortener) Failed(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[name].err
}

// Kept returns the version that was cached after the dataset's last successful try. If the refresh that loaded it could not cache
// it, the try did.
func (s *Shortener) Kept(name string) dataset.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name]
}

// CacheError returns why the served version is not in the cache folder; nil if it is. finish is the error of the refresh that loaded the
// version. Another version with its number, or a higher version of a history that a restore ended, does not count.
func (s *Shortener) CacheError(name string, served dataset.Ref, finish error) error {
	if finish != nil && s.Kept(name) != served {
		return finish
	}
	return s.Failed(name)
}

// needed reports whether the cached version is older than rec or has too many deltas.
func (s *Shortener) needed(rec dataset.VersionRecord) (bool, error) {
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

// Run writes the snapshots that are due until ctx ends. It calls done after each try.
func (s *Shortener) Run(ctx context.Context, done func(name string, err error)) error {
	for {
		name, v, ok := s.next(time.Now())
		if !ok {
			pause := wake.Forever
			if at, ok := s.nextRetry(); ok {
				pause = time.Until(at)
			}
			if !wake.Wait(ctx, pause, s.wake) {
				return nil
			}
			continue
		}
		err := guard.Try(func() error { return s.shorten(ctx, v) })
		if ctx.Err() != nil {
			return nil
		}
		done(name, s.onTried(time.Now(), name, v, err))
	}
}

// nextRetry returns when the first failed try is due again; ok is false if there is none, or if the folder hangs.
func (s *Shortener) nextRetry() (at time.Time, ok bool) {
	if s.cache.Hangs() != nil {
		return time.Time{}, false // Wake is called when it works again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.due {
		if t := s.failed[name].retryAt; !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// next returns a try that is due at now. It stays due until onTried.
func (s *Shortener) next(now time.Time) (name string, v shortenTry, ok bool) {
	if s.cache.Hangs() != nil {
		return "", shortenTry{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.due {
		if s.failed[name].retryAt.After(now) {
			continue
		}
		if t := d.table.Value(); t != nil {
			return name, shortenTry{d.rec, t}, true
		}
		delete(s.due, name) // a later version is served, and its refresh calls request
	}
	return "", shortenTry{}, false
}

// onTried records the result err of the try v. It returns err, or nil if v was needless by then.
func (s *Shortener) onTried(now time.Time, name string, v shortenTry, err error) error {
	var held cachedir.Held
	heldErr := err
	if err == nil {
		// The cached version need not be v: a try keeps a cached version with a higher number, even one outside the store's history.
		held, heldErr = s.cache.Held(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.due[name]
	if ok && err != nil {
		f := s.failed[name]
		if f.backoff == nil {
			f.backoff = backoff.New(minShortenPause, maxShortenPause)
		}
		// A hang also starts the backoff, although Wake is called at its end: a disk that hangs again and again must cost few tries.
		f.err, f.retryAt = err, now.Add(f.backoff.Next())
		s.failed[name] = f
		return err
	}
	if heldErr == nil {
		s.kept[name] = held.Record.Ref()
	}
	delete(s.failed, name)
	if d.table == weak.Make(v.table) {
		delete(s.due, name)
	}
	return nil
}

// shorten writes the snapshot of v, if it is still needed.
func (s *Shortener) shorten(ctx context.Context, v shortenTry) error {
	if needed, err := s.needed(v.rec); err != nil || !needed {
		return err
	}
	// The encoded lengths of most records take two or three bytes.
	return snapshot.Cut(v.table.PayloadBytes()+3*int64(v.table.Len()), func(rawBytes int64) error { return s.put(ctx, v, rawBytes) })
}

// put writes the snapshot of v to the cache folder, in blocks of rawBytes.
func (s *Shortener) put(ctx context.Context, v shortenTry, rawBytes int64) error {
	draft := s.cache.Draft(v.rec.Dataset)
	defer draft.Drop()
	bytes := totalBytes(v.rec.Chain()) // an estimate: a snapshot grows by about the bytes of its deltas
	err := draft.Make(bytes, func(w io.Writer) (dataset.Object, error) { return s.write(ctx, w, v.table, rawBytes) })
	if err == nil {
		err = draft.Shorten(v.rec, func() bool { return s.left(v.rec.Dataset, v.rec.Version) })
	}
	if errors.Is(err, cachedir.ErrOther) {
		return nil // a full load replaced the cached version, or an earlier version is served
	}
	if err != nil {
		return fmt.Errorf("write a snapshot of %s, about %d bytes, to the cache folder: %w", v.rec.ID(), bytes, err)
	}
	return nil
}

// write writes the snapshot of t. Only compressing, three quarters of the work, is in the lane: writes to the disk may take long.
func (s *Shortener) write(ctx context.Context, dst io.Writer, t *table.Table, rawBytes int64) (dataset.Object, error) {
	w, err := snapshot.NewWriter(dst, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: t.Seed(), Workers: 1, RawBytes: rawBytes, Lane: s.Lane})
	if err != nil {
		return dataset.Object{}, err
	}
	defer w.Abort()
	records := 0
	for key, value := range t.All() {
		if ctx.Err() != nil {
			return dataset.Object{}, context.Cause(ctx)
		}
		if records++; records%yieldRecords == 0 {
			lane.Yield(ctx)
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
		return dataset.Object{}, fmt.Errorf("%w: the state checksum of the table's records is %v, want %v", ErrMismatch, totals.State, t.State())
	}
	return dataset.Object{Version: t.Version(), Digest: totals.Digest, Bytes: totals.FileBytes}, nil
}
