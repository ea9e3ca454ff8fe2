package subscribe_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// fullDisk is a disk without space: writes go to /dev/full.
func fullDisk(opened *atomic.Int64) cachedir.Disk {
	return cachedir.Disk{
		Create: func(dir, pattern string) (*os.File, error) {
			opened.Add(1)
			file, err := os.CreateTemp(dir, pattern)
			if err != nil {
				return nil, err
			}
			file.Close()
			fd, err := syscall.Open("/dev/full", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
			return os.NewFile(uintptr(fd), file.Name()), err
		},
		Free: func(string) (int64, bool) { return 0, false },
	}
}

// freeDisk is a real disk that reports the given number of free bytes.
func freeDisk(bytes int64) cachedir.Disk {
	return cachedir.Disk{Create: os.CreateTemp, Free: func(string) (int64, bool) { return bytes, true }}
}

const plenty = 1 << 40

// next publishes the next version as a delta and waits until it is served.
func (p *pipeline) next(r *rand.Rand, s *subscribe.Subscriber) {
	p.w.t.Helper()
	rec := p.commit(mutate(r, p.content), false, 300)
	p.w.announce(rec)
	await(p.w.t, rec.ID(), func() bool { tab := handle(s, p.name).Table(); return tab != nil && tab.Version() == rec.Version })
}

// cached reports whether the version is in the cache folder as the given number of objects.
func (p *pipeline) cached(cfg subscribe.Config, version uint64, objects int) bool {
	held, err := cachedir.New(cfg.CacheDir).Held(p.name)
	return err == nil && held.Record.Version == version && len(held.Chain) == objects
}

// restartsWithNothingAround fails the test unless the newest version is served from the cache folder, with all servers down.
func (p *pipeline) restartsWithNothingAround(cfg subscribe.Config, s *subscribe.Subscriber) {
	p.w.t.Helper()
	// Until the version is confirmed, which follows the swap, the one before is kept too.
	await(p.w.t, "the cache folder to hold the newest version and its record alone", func() bool {
		return p.cached(cfg, p.last.Version, len(files(p.w.t, cfg.CacheDir))-1)
	})
	if err := s.Close(); err != nil {
		p.w.t.Fatal(err)
	}
	p.w.down()
	s = open(p.w.t, cfg)
	if err := s.Wait(p.w.context()); err != nil {
		p.w.t.Fatal(err)
	}
	if tab := handle(s, p.name).Table(); tab.Version() != p.last.Version || !maps.Equal(content(tab), p.content) {
		p.w.t.Errorf("version %d came from the cache folder, want %d", tab.Version(), p.last.Version)
	}
}

// While the disk is full, refreshes succeed, the status names the problem, and the cached version stays intact. When there is
// space again, the newest version is cached without another refresh.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(7, 7))
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.announce(p.commit(big(r, 2000), true, 0))
	s := open(t, cfg)
	s.SetDisk(freeDisk(plenty))
	await(t, "the first version", func() bool { return handle(s, "prices").Table() != nil })
	p.next(r, s)
	p.next(r, s)
	await(t, "deltas to be cached", func() bool { return p.cached(cfg, 3, 3) })

	var opened atomic.Int64
	began := time.Now()
	s.SetDisk(fullDisk(&opened))
	const refreshes = 30
	for range refreshes {
		p.next(r, s)
	}
	await(t, "the status to warn", func() bool {
		return strings.HasSuffix(statusOf(t, s, "prices").Warning, "no space left on device")
	})
	if !p.cached(cfg, 3, 3) {
		t.Error("what was cached before is not there any more")
	}
	if d := statusOf(t, s, "prices"); d.State == fleet.Failing || d.Error != "" || !maps.Equal(content(handle(s, "prices").Table()), p.content) {
		t.Errorf("the status is %+v, want serving", d)
	}
	// Each refresh opens a file for its delta; attempts to write snapshots back off.
	if n := opened.Load() - refreshes; n < 1 || n > refreshes/2 {
		t.Errorf("%d tries to write a snapshot for %d refreshes", n, refreshes)
	}

	s.SetDisk(freeDisk(plenty))
	// Each pause between attempts is at most three times the sum of those before.
	awaitFor(t, patience+3*time.Since(began), "the newest version to be cached", func() bool { return p.cached(cfg, p.last.Version, 1) })
	await(t, "the warning to go", func() bool { return warningOf(t, s, "prices") == "" })
	p.next(r, s) // the cache goes on from there
	p.restartsWithNothingAround(cfg, s)
}

// Without space for another snapshot none is begun, so that deltas, which fit, keep the cache at the newest version.
func TestDiskWithRoomForDeltasOnly(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(8, 8))
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.announce(p.commit(big(r, 200), true, 0))
	s := open(t, cfg)
	s.SetDisk(freeDisk(1000))
	await(t, "the first version", func() bool { return handle(s, "prices").Table() != nil })
	for range 40 {
		p.next(r, s)
	}
	await(t, "all deltas to be cached", func() bool { return p.cached(cfg, 41, 41) })
	await(t, "the status to say what is needed", func() bool {
		return strings.Contains(statusOf(t, s, "prices").Warning, "bytes free, and 1000 are")
	})

	s.SetDisk(freeDisk(plenty))
	await(t, "the cache to be shortened", func() bool { return p.cached(cfg, 41, 1) })
	await(t, "the warning to go", func() bool { return warningOf(t, s, "prices") == "" })
	p.restartsWithNothingAround(cfg, s)
}
