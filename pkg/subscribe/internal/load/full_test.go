package load

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/table"
)

// disk is a file system that a test fills.
type disk struct {
	full    atomic.Bool
	created atomic.Int64
}

// create creates a file that writes to /dev/full while the disk is full.
func (d *disk) create(dir, pattern string) (*os.File, error) {
	d.created.Add(1)
	file, err := os.CreateTemp(dir, pattern)
	if err != nil || !d.full.Load() {
		return file, err
	}
	file.Close()
	fd, err := syscall.Open("/dev/full", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), file.Name()), err
}

func unknown(string) (int64, bool) { return 0, false }

// cacheOn returns a cache folder on the disk.
func cacheOn(t *testing.T, d *disk) *cachedir.Dir {
	cache := cachedir.New(t.TempDir())
	cache.SetDisk(cachedir.Disk{Create: d.create, Free: unknown})
	t.Cleanup(func() { cache.Close() })
	return cache
}

// tableOf returns the table of a version.
func tableOf(t *testing.T, number uint64, count, bytesEach int) (dataset.VersionRecord, *table.Table) {
	t.Helper()
	rec, file := version(t, number, count, bytesEach)
	r, err := snapshot.NewReader(bytes.NewReader(file), snapshot.Expect(rec.Snapshot))
	if err != nil {
		t.Fatal(err)
	}
	tab, err := table.Load(t.Context(), r, table.Config{Version: number, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return rec, tab
}

// steps is a context that counts the records that are walked: each checks whether the context has ended.
type steps struct {
	context.Context
	n int
}

func (s *steps) Err() error {
	s.n++
	return s.Context.Err()
}

func TestTryEndsWhereTheDiskIsFull(t *testing.T) {
	d := &disk{}
	d.full.Store(true)
	rec, tab := tableOf(t, 1, 10_000, 200) // some 2 MB that cannot be compressed, in 8 blocks
	walked := &steps{Context: t.Context()}
	err := NewShortener(cacheOn(t, d)).shorten(walked, shortenTry{rec, tab})
	// The second block is the first to reach the disk; three more may be in flight by then.
	if !errors.Is(err, syscall.ENOSPC) || walked.n > tab.Len()*3/4 {
		t.Errorf("on a full disk %d of %d records were walked, %v", walked.n, tab.Len(), err)
	}
}

// Without space for a snapshot none of it is written, and the error states the needed and the free bytes.
func TestTryNeedsRoom(t *testing.T) {
	d := &disk{}
	cache := cacheOn(t, d)
	cache.SetDisk(cachedir.Disk{Create: d.create, Free: func(string) (int64, bool) { return 4711, true }})
	rec, tab := tableOf(t, 1, 100, 100)
	walked := &steps{Context: t.Context()}
	err := NewShortener(cache).shorten(walked, shortenTry{rec, tab})
	if !errors.Is(err, cachedir.ErrFull) || walked.n != 0 || d.created.Load() != 0 {
		t.Errorf("%d records were walked and %d files made; %v", walked.n, d.created.Load(), err)
	}
	if err == nil || !strings.Contains(err.Error(), "bytes free, and 4711 are") {
		t.Errorf("the error is %v", err)
	}
}

// However many refreshes there are while the disk is full, tries become few. The first that finds space caches the newest version, and needs
// no refresh. Only the test advances its clock.
func TestTriesOnAFullDiskBecomeFew(t *testing.T) {
	d := &disk{}
	cache := cacheOn(t, d)
	d.full.Store(true)
	rec, tab := tableOf(t, 1, 100, 100)
	s := NewShortener(cache)
	now := time.Unix(1, 0)
	refresh := func() {
		if err := s.request(rec, weak.Make(tab)); err != nil {
			t.Fatal(err)
		}
	}
	var tries []time.Time
	// run does what Run does at now.
	run := func() (err error) {
		for {
			name, v, ok := s.next(now)
			if !ok {
				return err
			}
			tries = append(tries, now)
			err = s.onTried(now, name, v, s.shorten(t.Context(), v))
		}
	}

	const refreshes, each = 5_000, 2 * time.Second
	for range refreshes {
		refresh()
		if err := run(); err != nil && !errors.Is(err, syscall.ENOSPC) || !errors.Is(s.Failed("prices"), syscall.ENOSPC) {
			t.Fatalf("a try ended with %v, and %v is reported", err, s.Failed("prices"))
		}
		now = now.Add(each)
	}
	if n := int64(len(tries)); n > 45 || n < 15 || d.created.Load() != n {
		t.Errorf("%d tries and %d files for %d refreshes", n, d.created.Load(), refreshes)
	}
	for i := range len(tries) - 1 {
		pause := tries[i+1].Sub(tries[i])
		if want := min(minShortenPause<<min(i, 20), maxShortenPause); pause < want/2 || pause > want*3/2+each {
			t.Errorf("pause %d was %s, want %s give or take half", i+1, pause, want)
		}
	}
	last := tries[len(tries)-1]
	if at, ok := s.nextRetry(); !ok || at.Before(last.Add(maxShortenPause/2)) || at.After(last.Add(maxShortenPause*3/2)) {
		t.Errorf("after a try at %s Run waits until %s, %v", last, at, ok)
	}

	d.full.Store(false)
	now = now.Add(maxShortenPause * 3 / 2)
	err := run()
	held, heldErr := cache.Held("prices")
	if err != nil || s.Failed("prices") != nil || s.Kept("prices") != rec.Ref() || heldErr != nil || held.Record.Version != 1 {
		t.Fatalf("once there was room the try ended with %v; version %d is cached, %v", err, held.Record.Version, heldErr)
	}
	if at, ok := s.nextRetry(); ok {
		t.Errorf("with nothing to do Run waits until %s", at)
	}

	// The backoff starts again.
	d.full.Store(true)
	later := rec
	later.Version, later.Snapshot.Version = 2, 2
	rec = later
	tries = nil
	for range 2 {
		refresh()
		if err := run(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a try ended with %v", err)
		}
		now = now.Add(minShortenPause * 3 / 2)
	}
	if len(tries) != 2 {
		t.Errorf("%d tries, want one, and after a short pause another", len(tries))
	}

	// A full load that was cached makes the next try needless.
	d.full.Store(false)
	draft := cache.Draft("prices")
	defer draft.Drop()
	full, file := version(t, 2, 100, 100)
	draft.Object(full.Snapshot).Write(file)
	if err := draft.Commit(full); err != nil {
		t.Fatal(err)
	}
	rec = full
	refresh()
	now = now.Add(2 * maxShortenPause)
	tries = nil
	if err := run(); err != nil || len(tries) != 0 || s.Failed("prices") != nil {
		t.Errorf("after a full load there were %d tries, and %v is reported", len(tries), s.Failed("prices"))
	}
	runtime.KeepAlive(tab)
}

// A version that waits for another try does not keep its table in memory after a later one is served.
func TestTableThatWaitsCanBeFreed(t *testing.T) {
	s := NewShortener(cacheOn(t, &disk{}))
	rec, tab := tableOf(t, 1, 100, 100)
	if err := s.request(rec, weak.Make(tab)); err != nil {
		t.Fatal(err)
	}
	if _, v, ok := s.next(time.Now()); !ok || v.table != tab {
		t.Fatal("the snapshot is not due")
	}
	s.onTried(time.Now(), "prices", shortenTry{rec, tab}, syscall.ENOSPC)
	runtime.KeepAlive(tab)
	tab = nil
	runtime.GC()
	s.failed["prices"] = shortenFail{err: syscall.ENOSPC} // the pause has passed
	if _, _, ok := s.next(time.Now()); ok {
		t.Error("a table that nobody serves is in memory")
	}
}
