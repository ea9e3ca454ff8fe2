package subscribe_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// cached returns the path of an object in the cache folder.
func cached(dir, name string, o dataset.Object) string {
	return filepath.Join(dir, name, o.Digest.String()+".object")
}

// awaitNumber waits for a version of prices with any content.
func awaitNumber(t *testing.T, s *subscribe.Subscriber, version uint64) {
	t.Helper()
	await(t, fmt.Sprintf("version %d", version), func() bool { tab := handle(s, "prices").Table(); return tab != nil && tab.Version() == version })
}

// Invariant: a damaged delta in the cache folder costs the versions from it on, and not the intact snapshot before it. The
// status says so at every restart until a relay answers, and then the folder holds the newest version again.
func TestDamagedDeltaInTheCacheKeepsTheSnapshot(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"one bit": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o600)
		},
		"cut short": func(path string) error { return os.Truncate(path, 20) },
		"removed":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) { testDamagedDeltaInTheCache(t, damage) })
	}
}

func testDamagedDeltaInTheCache(t *testing.T, damage func(path string) error) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(5, 5))
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	records := []dataset.VersionRecord{p.commit(big(r, 2000), true, 0)}
	w.announce(records[0])
	s := open(t, cfg)
	for range 3 {
		awaitNumber(t, s, p.last.Version)
		records = append(records, p.commit(mutate(r, p.content), false, 9))
		w.announce(p.last)
	}
	awaitNumber(t, s, 4)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.down()
	if err := damage(cached(cfg.CacheDir, "prices", p.last.Deltas[1])); err != nil { // that to version 3
		t.Fatal(err)
	}

	book := &logbook{}
	cfg.Log = book.logger()
	var observed atomic.Int64
	cfg.Observer.CacheFailed = func(subscribe.CacheFailure) { observed.Add(1) }
	for start := range 2 {
		s = open(t, cfg)
		awaitNumber(t, s, 2)
		if !maps.Equal(content(handle(s, "prices").Table()), p.history[1]) {
			t.Fatal("other content than that of version 2 is served")
		}
		d := statusOf(t, s, "prices")
		if d.From != fleet.Cache || d.ID != records[1].VersionID() || d.State != fleet.Blind || d.AgeSeconds != 0 {
			t.Errorf("the status is %+v, want version 2 from the cache folder, with its id", d)
		}
		for _, part := range []string{"damaged in the cache folder", "delta to version 3", p.last.Deltas[1].Digest.String(), "version 2 is served"} {
			if !strings.Contains(d.Warning, part) {
				t.Errorf("the warning %q does not say %q", d.Warning, part)
			}
		}
		await(t, "the log and the observer", func() bool {
			return book.has("the newest version in the cache folder cannot be served") && observed.Load() == int64(start+1)
		})
		if start == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}

	w.relay.restart()
	w.nats.Start()
	pulls := w.relay.objects.Load()
	awaitNumber(t, s, 4)
	if !maps.Equal(content(handle(s, "prices").Table()), p.content) {
		t.Error("other content than that of version 4 is served")
	}
	if n := w.relay.objects.Load() - pulls; n != 2 {
		t.Errorf("%d objects were pulled, want the two deltas that lead on from version 2", n)
	}
	await(t, "the status to show version 4 and no word of damage", func() bool {
		d := statusOf(t, s, "prices")
		return !strings.Contains(d.Warning, "damaged") && d.ID == p.last.VersionID()
	})
	await(t, "the damaged delta to be replaced in the folder", func() bool {
		_, err := os.Stat(cached(cfg.CacheDir, "prices", records[0].Snapshot))
		return errors.Is(err, os.ErrNotExist)
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.down()
	s = open(t, cfg)
	awaitNumber(t, s, 4)
	if d := statusOf(t, s, "prices"); strings.Contains(d.Warning, "damaged") || d.ID != p.last.VersionID() {
		t.Errorf("after a restart the status is %+v, want version 4 and no word of damage", d)
	}
}

// A recovered version that deltas of an earlier release lead to has no known id. It is replaced like any other.
func TestRecoveredVersionWithoutAnID(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(6, 6))
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	p.commit(big(r, 2000), true, 0)
	rec := p.commit(mutate(r, p.content), false, 9)
	rec.Deltas[0].From = dataset.VersionID{}
	w.announce(rec)
	s := open(t, cfg)
	awaitNumber(t, s, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cached(cfg.CacheDir, "prices", rec.Deltas[0])); err != nil {
		t.Fatal(err)
	}
	served := make(chan subscribe.Refresh, 10)
	cfg.Observer.Swapped = func(r subscribe.Refresh) { served <- r }
	s = open(t, cfg)
	if first := <-served; first.Record.Version != 1 || first.From != fleet.Cache {
		t.Errorf("version %d is served from %s, want 1 from the cache folder", first.Record.Version, first.From)
	}
	if next := <-served; next.Record.Version != 2 || next.Full {
		t.Errorf("then came %+v, want version 2 by its delta", next)
	}
	if !maps.Equal(content(handle(s, "prices").Table()), p.content) {
		t.Error("other content than that of version 2 is served")
	}
}
