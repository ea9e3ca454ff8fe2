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

// create makes a file whose bytes, while the disk is full, go to /dev/full: it really takes none.
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

// steps counts the records that are walked: each asks whether the context has ended.
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
	err := NewShortener(cacheOn(t, d)).shorten(walked, pending{rec, tab})
	// The second block is the first to reach the disk; three more may be under way by then.
	if !errors.Is(err, syscall.ENOSPC) || walked.n > tab.Len()*3/4 {
		t.Errorf("on a full disk %d of %d records were walked, %v", walked.n, tab.Len(), err)
	}
}

// Without room for a snapshot none of it is made, and the error says how much is needed and how much is free.
func TestTryNeedsRoom(t *testing.T) {
	d := &disk{}
	cache := cacheOn(t, d)
	cache.SetDisk(cachedir.Disk{Create: d.create, Free: func(string) (int64, bool) { return 4711, true }})
	rec, tab := tableOf(t, 1, 100, 100)
	walked := &steps{Context: t.Context()}
	err := NewShortener(cache).shorten(walked, pending{rec, tab})
	if !errors.Is(err, cachedir.ErrFull) || walked.n != 0 || d.created.Load() != 0 {
		t.Errorf("%d records were walked and %d files made; %v", walked.n, d.created.Load(), err)
	}
	if err == nil || !strings.Contains(err.Error(), "bytes free, and 4711 are") {
		t.Errorf("the error is %v", err)
	}
}

// However many refreshes there are while the disk is full, tries become few; and the first that finds room, which needs
// no refresh, has the newest version cached. The test's clock stands still but for its own steps.
func TestTriesOnAFullDiskBecomeFew(t *testing.T) {
	d := &disk{}
	cache := cacheOn(t, d)
	d.full.Store(true)
	rec, tab := tableOf(t, 1, 100, 100)
	s := NewShortener(cache)
	now := time.Unix(1, 0)
	refresh := func() {
		if err := s.consider(rec, tab); err != nil {
			t.Fatal(err)
		}
	}
	var tries []time.Time
	// run does what Run would do now.
	run := func() (err error) {
		for {
			name, v, ok := s.next(now)
			if !ok {
				return err
			}
			tries = append(tries, now)
			err = s.tried(now, name, v, s.shorten(t.Context(), v))
		}
	}

	const refreshes, each = 5_000, 2 * time.Second
	for range refreshes {
		refresh()
		if err := run(); err != nil && !errors.Is(err, syscall.ENOSPC) || !errors.Is(s.Failed("prices"), syscall.ENOSPC) {
			t.Fatalf("a try ended with %v, and %v is told", err, s.Failed("prices"))
		}
		now = now.Add(each)
	}
	if n := int64(len(tries)); n > 45 || n < 15 || d.created.Load() != n {
		t.Errorf("%d tries and %d files for %d refreshes", n, d.created.Load(), refreshes)
	}
	for i := range len(tries) - 1 {
		pause := tries[i+1].Sub(tries[i])
		if want := min(firstPause<<min(i, 20), lastPause); pause < want/2 || pause > want*3/2+each {
			t.Errorf("pause %d was %s, want %s give or take half", i+1, pause, want)
		}
	}
	last := tries[len(tries)-1]
	if at, ok := s.retry(); !ok || at.Before(last.Add(lastPause/2)) || at.After(last.Add(lastPause*3/2)) {
		t.Errorf("after a try at %s Run waits until %s, %v", last, at, ok)
	}

	d.full.Store(false)
	now = now.Add(lastPause * 3 / 2)
	err := run()
	held, heldErr := cache.Held("prices")
	if err != nil || s.Failed("prices") != nil || s.Kept("prices") != rec.Ref() || heldErr != nil || held.Record.Version != 1 {
		t.Fatalf("once there was room the try ended with %v; version %d is cached, %v", err, held.Record.Version, heldErr)
	}
	if at, ok := s.retry(); ok {
		t.Errorf("with nothing to do Run waits until %s", at)
	}

	// The pauses begin anew.
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
		now = now.Add(firstPause * 3 / 2)
	}
	if len(tries) != 2 {
		t.Errorf("%d tries, want one, and after a short pause another", len(tries))
	}

	// A full load that was kept makes the next try needless.
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
	now = now.Add(2 * lastPause)
	tries = nil
	if err := run(); err != nil || len(tries) != 0 || s.Failed("prices") != nil {
		t.Errorf("after a full load there were %d tries, and %v is told", len(tries), s.Failed("prices"))
	}
	runtime.KeepAlive(tab)
}

// What waits for another try keeps no table in memory that is not served any more.
func TestTableThatWaitsCanBeFreed(t *testing.T) {
	s := NewShortener(cacheOn(t, &disk{}))
	rec, tab := tableOf(t, 1, 100, 100)
	if err := s.consider(rec, tab); err != nil {
		t.Fatal(err)
	}
	if _, v, ok := s.next(time.Now()); !ok || v.table != tab {
		t.Fatal("the snapshot is not due")
	}
	s.tried(time.Now(), "prices", pending{rec, tab}, syscall.ENOSPC)
	runtime.KeepAlive(tab)
	tab = nil
	runtime.GC()
	s.failed["prices"] = failure{err: syscall.ENOSPC} // the pause has passed
	if _, _, ok := s.next(time.Now()); ok {
		t.Error("a table that nobody serves is in memory")
	}
}
