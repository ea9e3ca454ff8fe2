package subscribe_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// many returns the names of n datasets.
func many(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("d%02d", i))
	}
	return names
}

// pipe puts a named pipe in the place of the file. An open of the file hangs until the test releases the pipe.
func pipe(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unpipe(path) })
}

// unpipe releases the operations that hang at the pipe, and removes it.
func unpipe(path string) {
	if f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
		os.Remove(path)
		f.Close()
	}
}

// within fails the test unless f ends in time.
func within(t *testing.T, bound time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		t.Logf("%s took %s", what, time.Since(began).Round(time.Millisecond))
	case <-time.After(bound):
		t.Fatalf("%s has not ended after %s", what, bound)
	}
}

// Invariant: with a cache folder that hangs from the start, all datasets are served by the relays, with few lanes and many datasets; and
// Open and Close return.
func TestCacheFolderHangsAtTheStart(t *testing.T) {
	for name, file := range map[string]string{"records": "%s/version.json", "lock": ".lock", "marks": "%s/boot.json"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			names := many(40)
			cfg := w.config(names...)
			cfg.CacheDir, cfg.Lanes, cfg.StallTimeout = t.TempDir(), 4, 30*time.Second
			for _, name := range names {
				w.publish(name, 1)
				path := filepath.Join(cfg.CacheDir, file)
				if strings.Contains(path, "%s") {
					path = fmt.Sprintf(path, name)
				}
				if _, err := os.Lstat(path); err != nil {
					pipe(t, path)
				}
			}
			var s *subscribe.Subscriber
			within(t, 20*time.Second, "Open", func() {
				var err error
				if s, err = subscribe.Open(t.Context(), subscribe.OnDisk(cfg, impatient())); err != nil {
					t.Error(err)
				}
			})
			within(t, 25*time.Second, "serving", func() {
				if err := s.Wait(w.context()); err != nil {
					t.Error(err)
				}
			})
			if d := statusOf(t, s, names[7]); d.From != fleet.Relay || !strings.Contains(d.Warning, "the cache folder hangs") ||
				!strings.Contains(d.Warning, cfg.CacheDir) {
				t.Errorf("the status is %+v", d)
			}
			began := time.Now()
			w.publish(names[3], 2)
			awaitVersion(t, s, names[3], 2)
			t.Logf("version 2 was served after %s", time.Since(began))
			within(t, 20*time.Second, "Close", func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// impatient is the disk of the machine with the time limits that apply outside of tests.
func impatient() cachedir.Disk {
	disk := cachedir.NewDisk()
	disk.Patience = 500 * time.Millisecond
	return disk
}

// switchedDisk is a disk that hangs while it is off.
type switchedDisk struct {
	mu  sync.Mutex
	on  *sync.Cond
	off bool
}

func newDisk() (*switchedDisk, cachedir.Disk) {
	d := &switchedDisk{}
	d.on = sync.NewCond(&d.mu)
	disk := impatient()
	disk.At = func(string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for d.off {
			d.on.Wait()
		}
	}
	return d, disk
}

func (d *switchedDisk) turn(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = !on
	d.on.Broadcast()
}

// Invariant: a disk that begins to hang while the instance runs blocks no version, and Close returns while it hangs. When the disk returns, the
// folder is used again, and gets the served versions.
func TestCacheFolderHangsForAWhile(t *testing.T) {
	w := newWorld(t)
	names := many(6)
	cfg := w.config(names...)
	cfg.CacheDir, cfg.Lanes, cfg.StallTimeout = t.TempDir(), 2, 30*time.Second
	disk, seam := newDisk()
	defer disk.turn(true)
	book := &logbook{}
	cfg.Log = book.logger()
	s := open(t, subscribe.OnDisk(cfg, seam))
	for _, name := range names {
		w.publish(name, 1)
		awaitVersion(t, s, name, 1)
	}
	disk.turn(false)
	for v := uint64(2); v < 5; v++ {
		for _, name := range names {
			w.publish(name, v)
		}
		for _, name := range names {
			awaitVersion(t, s, name, v)
		}
	}
	await(t, "the log and the status to say that the folder hangs", func() bool {
		return book.has("the cache folder hangs") && strings.Contains(warningOf(t, s, names[0]), "the cache folder hangs")
	})
	disk.turn(true)
	await(t, "the folder to have what is served", func() bool {
		for _, name := range names {
			held, err := cachedir.New(cfg.CacheDir).Held(name)
			if err != nil || held.Record.Version != 4 || warningOf(t, s, name) != "" {
				return false
			}
		}
		return book.has("is used again")
	})
	disk.turn(false)
	within(t, 20*time.Second, "Close", func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A folder that hangs at the start is read when it returns, if no version is served: with all servers down it has the only versions.
func TestCacheFolderReturnsWhileAllElseIsDown(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	w.fill(cfg, "prices", 2)
	w.down()
	disk, seam := newDisk()
	disk.turn(false)
	defer disk.turn(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var s *subscribe.Subscriber
	within(t, 20*time.Second, "Open", func() {
		var err error
		if s, err = subscribe.Open(ctx, subscribe.OnDisk(cfg, seam)); err != nil {
			t.Error(err)
		}
	})
	defer s.Close()
	await(t, "the status to say that the folder hangs", func() bool { return strings.Contains(statusOf(t, s, "prices").Warning, "the cache folder hangs") })
	disk.turn(true)
	awaitVersion(t, s, "prices", 2)
	if d := statusOf(t, s, "prices"); d.From != fleet.Cache {
		t.Errorf("the status is %+v", d)
	}
}
