package load

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/refresh"
)

// While maxDrafts versions are being written to the cache folder, the next ones are loaded without use of the disk. When those are
// written or abandoned, the folder is used again.
func TestVersionsPassThoseOnTheirWayToTheCache(t *testing.T) {
	for name, swapped := range map[string]bool{"they are written": true, "they are abandoned": false} {
		t.Run(name, func(t *testing.T) {
			rec, file := version(t, 1, 100, 1000)
			l, _ := loader(t, file)
			load := func() loaded {
				t.Helper()
				v, err := l.Load(t.Context(), rec, nil, nothing)
				if err != nil {
					t.Fatal(err)
				}
				rec.Version++
				rec.Snapshot.Version++
				return v
			}
			var slow []loaded
			for range maxDrafts {
				slow = append(slow, load())
			}
			passes := load()
			if err := passes.Finish(true); !errors.Is(err, errTooManyDrafts) {
				t.Errorf("Finish says %v, want that the version is not kept", err)
			}
			for _, v := range slow {
				if err := v.Finish(swapped); err != nil {
					t.Fatal(err)
				}
			}
			last := load()
			if err := last.Finish(true); err != nil {
				t.Fatal(err)
			}
			if v, err := l.Stored(t.Context(), "prices", nothing); err != nil || v.Record.Version != last.Record.Version {
				t.Errorf("the cache folder has version %d, %v", v.Record.Version, err)
			}
		})
	}
}

// hangingDisk is a disk whose every operation hangs until release is called.
func hangingDisk() (disk cachedir.Disk, release func()) {
	gate := make(chan struct{})
	disk = cachedir.NewDisk()
	disk.Patience = 500 * time.Millisecond
	disk.At = func(string) { <-gate }
	return disk, func() { close(gate) }
}

// soon is far more than the folder's patience with one operation, and less than with several in a row.
const soon = 20 * time.Second

// A disk that hangs delays one load by the folder's patience, and the others not at all; the load itself does not use the folder. When
// the disk works again, a snapshot of its table caches the served version.
func TestDiskThatHangsBarsNoVersion(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	l, _ := loader(t, file)
	l.Guard = bootguard.New(l.Cache, []string{"prices"}, time.Hour, "boot")
	l.Shortener = NewShortener(l.Cache)
	returned := make(chan struct{}, 8)
	l.Cache.Watch(func(err error) {
		l.Shortener.Wake()
		if err == nil {
			returned <- struct{}{}
		}
	})
	disk, release := hangingDisk()
	l.Cache.SetDisk(disk)

	began := time.Now()
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	v.Swapped()
	if err := v.Finish(true); !errors.Is(err, cachedir.ErrHangs) {
		t.Errorf("Finish says %v, want that the folder hangs", err)
	}
	if d := time.Since(began); d > soon {
		t.Errorf("the first version took %s", d)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, cachedir.ErrHangs) || errors.Is(err, refresh.ErrNone) {
		t.Errorf("Stored says %v", err)
	}
	began = time.Now()
	rec.Version, rec.Snapshot.Version = 2, 2
	if v, err = l.Load(t.Context(), rec, nil, nothing); err != nil {
		t.Fatal(err)
	}
	v.Swapped()
	if err := v.Finish(true); !errors.Is(err, cachedir.ErrHangs) || l.Cache.Hangs() == nil {
		t.Errorf("Finish says %v, and Hangs %v", err, l.Cache.Hangs())
	}
	if d := time.Since(began); d > soon {
		t.Errorf("the second version took %s", d)
	}

	tries := make(chan error, 64)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		done <- l.Shortener.Run(ctx, func(_ string, err error) { tries <- err })
	}()
	release()
	<-returned
	for err := range tries {
		if err == nil {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	want := dataset.Ref{Version: 2, ID: v.Record.VersionID()}
	if got := l.Shortener.Kept("prices"); got != want || l.Shortener.CacheError("prices", want, cachedir.ErrHangs) != nil {
		t.Errorf("kept %v, want %v", got, want)
	}
	if s, err := l.Stored(t.Context(), "prices", nothing); err != nil || s.Record.Version != 2 {
		t.Errorf("the folder has version %d, %v", s.Record.Version, err)
	}
}

// The folder begins to hang at one dataset while the version of another is being read: that version is served. If one of its own operations
// hangs, the load ends.
func TestStoredVersionIsReadWhileTheFolderHangsElsewhere(t *testing.T) {
	rec, file := version(t, 1, 100, 1000)
	l, _ := loader(t, file)
	v, err := l.Load(t.Context(), rec, nil, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(true); err != nil {
		t.Fatal(err)
	}
	changes := make(chan error, 8)
	l.Cache.Watch(func(err error) { changes <- err })
	disk, gates := cachedir.NewDisk(), map[string]chan struct{}{"rules": make(chan struct{}), "prices": make(chan struct{})}
	disk.Patience = 500 * time.Millisecond
	own := false // is written before the operation that reads it begins
	disk.At = func(path string) {
		switch {
		case path == l.Cache.BootPath("rules"):
			<-gates["rules"]
		case own && filepath.Ext(path) == ".object":
			<-gates["prices"]
		}
	}
	l.Cache.SetDisk(disk)
	other := make(chan error, 1)
	hang := sync.OnceFunc(func() {
		go func() {
			_, err := l.Cache.HasBoot("rules")
			other <- err
		}()
		if err := <-changes; !errors.Is(err, cachedir.ErrHangs) {
			t.Errorf("the folder's watcher got %v", err)
		}
	})
	if v, err := l.Stored(t.Context(), "prices", hang); err != nil || v.Record.Version != 1 || v.Value.State() != rec.State {
		t.Errorf("Stored returned version %d, %v", v.Record.Version, err)
	}
	if err := <-other; !errors.Is(err, cachedir.ErrHangs) {
		t.Errorf("the call that hangs returned %v", err)
	}
	if _, err := l.Stored(t.Context(), "prices", nothing); !errors.Is(err, cachedir.ErrHangs) {
		t.Errorf("while the folder hangs, Stored returned %v", err)
	}
	close(gates["rules"])
	if err := <-changes; err != nil {
		t.Errorf("the folder's watcher got %v", err)
	}
	if _, err := l.Stored(t.Context(), "prices", func() { own = true }); !errors.Is(err, cachedir.ErrHangs) {
		t.Errorf("Stored returned %v, and a read of it hangs", err)
	}
	if err := <-changes; !errors.Is(err, cachedir.ErrHangs) {
		t.Errorf("the folder's watcher got %v", err)
	}
	close(gates["prices"])
	if err := <-changes; err != nil {
		t.Errorf("the folder's watcher got %v", err)
	}
	if v, err := l.Stored(t.Context(), "prices", nothing); err != nil || v.Value.State() != rec.State {
		t.Errorf("Stored returned version %d, %v", v.Record.Version, err)
	}
}

// A disk that hangs in each try for a snapshot costs ever fewer tries.
func TestTriesBackOffWhenTheFolderHangs(t *testing.T) {
	cache := cacheOn(t, &disk{})
	s := NewShortener(cache)
	rec, tab := tableOf(t, 9, 100, 100)
	if err := s.request(rec, weak.Make(tab)); err != nil {
		t.Fatal(err)
	}
	now, pauses := time.Now(), time.Duration(0)
	for range 6 {
		_, v, ok := s.next(now)
		if !ok {
			t.Fatal("no try is due")
		}
		hangs := fmt.Errorf("write a snapshot: %w", cachedir.ErrHangs)
		if err := s.onTried(now, "prices", v, hangs); err != hangs || s.Failed("prices") != hangs {
			t.Errorf("after a try that failed, tried returned %v, and Failed %v", err, s.Failed("prices"))
		}
		if _, _, ok := s.next(now); ok {
			t.Error("the next try is due at once")
		}
		at, ok := s.nextRetry()
		if !ok {
			t.Fatal("no try is due at any time")
		}
		pauses += at.Sub(now)
		now = at
	}
	if least := 63 * minShortenPause / 2; pauses < least {
		t.Errorf("6 tries took %s, want %s at the least", pauses, least)
	}
	runtime.KeepAlive(tab)
}
