package subscribe_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// down stops all servers of a subscriber.
func (w *world) down() {
	w.nats.Stop()
	w.relay.stop()
}

// fill runs a subscriber with the cache folder until the version is in it.
func (w *world) fill(cfg subscribe.Config, name string, version uint64) {
	w.t.Helper()
	s, err := subscribe.Open(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	for v := uint64(1); v <= version; v++ {
		w.publish(name, v)
		awaitVersion(w.t, s, name, v)
	}
	// Until the version is confirmed, which follows the swap, the one before is kept too.
	await(w.t, "the cache folder to have an object and a record", func() bool { return len(files(w.t, cfg.CacheDir)) == 2 })
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func TestRestartWithEverythingDown(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	w.fill(cfg, "prices", 2)
	w.down()

	book := &logbook{}
	cfg.Log = book.logger()
	s := open(t, cfg)
	if err := s.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	awaitVersion(t, s, "prices", 2)
	d := statusOf(t, s, "prices")
	if d.State != fleet.Blind || d.From != fleet.Cache || d.Version != 2 || d.LastPull.Bytes != 0 ||
		!strings.Contains(d.Warning, "no beacon has confirmed it since the start") {
		t.Errorf("the status is %+v, want it served from the cache, and blind", d)
	}
	await(t, "the log to say that the version comes from the cache", func() bool {
		return book.has("serving a version") && book.has("from=cache")
	})
	await(t, "the log to say that NATS cannot be asked", func() bool { return book.has("cannot catch up") })

	// All servers return: a version that was served from the cache is not pulled again, the next one is.
	w.relay.restart()
	w.nats.Start()
	pulls := w.relay.objects.Load()
	w.publish("prices", 3)
	awaitVersion(t, s, "prices", 3)
	if d := statusOf(t, s, "prices"); d.From != fleet.Relay {
		t.Errorf("the status is %+v, want from the relay", d)
	}
	if n := w.relay.objects.Load() - pulls; n != 1 {
		t.Errorf("%d pulls, want 1", n)
	}
}

func TestVersionInTheCacheIsNotPulledAgain(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.fill(cfg, "prices", 1)
	pulls := w.relay.objects.Load()
	var caughtUp atomic.Bool
	cfg.Observer.CaughtUp = func(c subscribe.CatchUp) { caughtUp.Store(c.Err == nil) }
	s := open(t, cfg)
	awaitVersion(t, s, "prices", 1)
	await(t, "the catch-up", caughtUp.Load)
	if d := statusOf(t, s, "prices"); d.From != fleet.Cache || w.relay.objects.Load() != pulls {
		t.Errorf("after the catch-up there were %d pulls, and the status is %+v", w.relay.objects.Load()-pulls, d)
	}
}

// Invariant: no byte of a damaged cache folder is served; it is discarded with a line in the log, the status warns of the damage and
// names the file until the folder is written again, and the relays heal it.
func TestCorruptCacheIsDiscarded(t *testing.T) {
	flip := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			paths, _ := filepath.Glob(filepath.Join(dir, "prices", pattern))
			b, err := os.ReadFile(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(paths[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(*testing.T, string){
		"a bit in the object": flip("*.object"),
		"a bit in the record": flip("version.json"),
		"no record":           func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "prices", "version.json"), nil, 0o600) },
		"no object": func(t *testing.T, dir string) {
			paths, _ := filepath.Glob(filepath.Join(dir, "prices", "*.object"))
			os.Remove(paths[0])
		},
		"record of other content": func(t *testing.T, dir string) {
			path := filepath.Join(dir, "prices", "version.json")
			b, _ := os.ReadFile(path)
			i := strings.Index(string(b), `"state":"20-`) + len(`"state":"20-`)
			b[i] = map[bool]byte{true: '1', false: '0'}[b[i] == '0']
			os.WriteFile(path, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.config("prices")
			cfg.CacheDir = t.TempDir()
			w.fill(cfg, "prices", 1)
			w.down()
			damage(t, cfg.CacheDir)

			book := &logbook{}
			cfg.Log = book.logger()
			var observed atomic.Int64
			cfg.Observer.CacheFailed = func(subscribe.CacheFailure) { observed.Add(1) }
			s := open(t, cfg)
			await(t, "the log to say so", func() bool {
				return book.has("the newest version in the cache folder cannot be served") && observed.Load() == 1
			})
			if handle(s, "prices").Table() != nil {
				t.Fatal("a damaged version is served")
			}
			if left := files(t, cfg.CacheDir); len(left) != 0 {
				t.Errorf("%q are still there", left)
			}
			await(t, "the status to warn of the damage and to name the folder", func() bool {
				warning := warningOf(t, s, "prices")
				return strings.Contains(warning, "damaged in the cache folder") && strings.Contains(warning, filepath.Join(cfg.CacheDir, "prices")) &&
					strings.Contains(warning, "it was discarded, and the first version that a relay brings takes its place")
			})
			w.relay.restart()
			w.nats.Start()
			awaitVersion(t, s, "prices", 1)
			await(t, "the cache to be filled again", func() bool { return len(files(t, cfg.CacheDir)) == 2 })
			await(t, "the status to say no word of damage", func() bool {
				return !strings.Contains(warningOf(t, s, "prices"), "damaged")
			})
			if n := book.count("the newest version in the cache folder cannot be served"); n != 1 {
				t.Errorf("the log says it %d times, want once", n)
			}
		})
	}
}

func TestUnusableCacheDoesNotStopServing(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	book := &logbook{}
	cfg := w.config("prices")
	cfg.Log = book.logger()
	cfg.CacheDir = filepath.Join(file, "cache") // cannot be made as long as file is a file
	s := open(t, cfg)
	for v := range uint64(3) {
		w.publish("prices", v+1)
		awaitVersion(t, s, "prices", v+1)
	}
	if d := statusOf(t, s, "prices"); d.State == fleet.Failing || d.Error != "" {
		t.Errorf("the status is %+v, want serving", d)
	}
	await(t, "the status to warn", func() bool {
		return strings.HasPrefix(warningOf(t, s, "prices"), "not kept in the cache folder: ")
	})
	for _, line := range []string{"the cache folder cannot be used for now", "could not be stored in the cache folder"} {
		await(t, "the log to say "+line, func() bool { return book.has(line) })
	}
	if err := os.Remove(file); err != nil { // someone repairs it
		t.Fatal(err)
	}
	w.publish("prices", 4)
	awaitVersion(t, s, "prices", 4)
	await(t, "the warning to go", func() bool { return warningOf(t, s, "prices") == "" })
	await(t, "the log to say so", func() bool { return book.has("the cache folder can be written again") })
	if len(files(t, cfg.CacheDir)) != 2 {
		t.Errorf("the repaired cache folder has %q", files(t, cfg.CacheDir))
	}
}

// The next release of a service starts with the same cache folder while the last one still runs.
func TestTwoSubscribersWithOneCacheFolder(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.fill(cfg, "prices", 1)
	first, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	awaitVersion(t, first, "prices", 1)
	second := open(t, cfg)
	awaitVersion(t, second, "prices", 1)
	w.publish("prices", 2)
	awaitVersion(t, first, "prices", 2)
	awaitVersion(t, second, "prices", 2)
	await(t, "the second to say that it cannot write", func() bool {
		return strings.Contains(statusOf(t, second, "prices").Warning, "in use by another process")
	})
	if warning := warningOf(t, first, "prices"); warning != "" {
		t.Errorf("the first warns: %s", warning)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 3)
	awaitVersion(t, second, "prices", 3)
	await(t, "the second to write", func() bool { return warningOf(t, second, "prices") == "" })
}

// An event of a version below the cached one is a no-op, even if it is the first event.
func TestCacheIsAheadOfTheLog(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.fill(cfg, "prices", 3)
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		// A query for the newest version is allowed, because the log knows only an older version. So is one for the pins.
		if !strings.HasSuffix(q.URL.Path, "/latest") && !strings.HasSuffix(q.URL.Path, "/pins") {
			t.Errorf("the relay was asked for %s", q.URL.Path)
		}
		return false
	})
	other := newWorld(t) // a stream that knows version 2 only
	other.commit("prices", 1, numbered(1))
	other.publish("prices", 2)
	cfg.NATS = other.nats.URL
	var caughtUp atomic.Bool
	cfg.Observer.CaughtUp = func(c subscribe.CatchUp) { caughtUp.Store(c.Err == nil) }
	s := open(t, cfg)
	awaitVersion(t, s, "prices", 3)
	await(t, "the catch-up", caughtUp.Load)
	if got := versionOf(t, handle(s, "prices").Table()); got != 3 {
		t.Errorf("version %d is served, want 3", got)
	}
}

func TestLeftoversAreCleanedAtStart(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.fill(cfg, "prices", 1)
	for _, file := range []string{"prices/new-1.tmp", "prices/" + strings.Repeat("a", 64) + ".object", "retired/version.json"} {
		path := filepath.Join(cfg.CacheDir, file)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, cfg)
	if left := files(t, cfg.CacheDir); len(left) != 2 {
		t.Errorf("the cache folder has %q", left)
	}
	awaitVersion(t, s, "prices", 1)
}

func TestCloseDoesNotWaitForServersThatAreDown(t *testing.T) {
	w := newWorld(t)
	w.down()
	s, err := subscribe.Open(t.Context(), w.config("prices"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Close(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("Close took %s, %v", time.Since(began), err)
	}
}
