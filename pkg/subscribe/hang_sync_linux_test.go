package subscribe_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// prompt is less than the patience for the sync of a file, and far more than the time that the tests measure: the machine may be busy.
const prompt = 15 * time.Second

// hangingSyncs returns a disk whose syncs hang at the paths for which hangs returns true. started is closed when the first of them hangs.
func hangingSyncs(t *testing.T, hangs func(path string) bool) (disk cachedir.Disk, started <-chan struct{}) {
	first, gate := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(gate) })
	disk = impatient()
	var once sync.Once
	disk.Sync = func(f *os.File) error {
		if hangs(f.Name()) {
			once.Do(func() { close(first) })
			<-gate
		}
		return f.Sync()
	}
	return disk, first
}

func isBoot(path string) bool { return strings.Contains(filepath.Base(path), "boot") }

// Invariant: while the sync of the confirmation of a version hangs, later versions of that dataset and of others are served, and Close
// returns.
func TestSyncOfAConfirmationHoldsUpNoVersion(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a", "b")
	cfg.CacheDir, cfg.StallTimeout, cfg.ConfirmAfter = t.TempDir(), 30*time.Second, 100*time.Millisecond
	disk, started := hangingSyncs(t, func(path string) bool { return filepath.Base(filepath.Dir(path)) == "a" && isBoot(path) })
	w.publish("a", 1)
	w.publish("b", 1)
	s, err := subscribe.Open(t.Context(), subscribe.OnDisk(cfg, disk))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	<-started
	for v := uint64(2); v < 4; v++ {
		for _, name := range []string{"b", "a"} {
			within(t, prompt, "the next version of "+name, func() {
				w.publish(name, v)
				awaitVersion(t, s, name, v)
			})
		}
	}
	within(t, prompt, "Close", func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Invariant: after a death, a sync that hangs at the start delays no dataset.
func TestSyncThatHangsAfterADeath(t *testing.T) {
	for name, hangs := range map[string]func(path string) bool{
		"file": isBoot, "folder": func(path string) bool { return filepath.Base(path) == "a" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.config("a", "b")
			cfg.CacheDir, cfg.StallTimeout, cfg.ConfirmAfter = t.TempDir(), 30*time.Second, time.Hour
			d := cachedir.New(cfg.CacheDir)
			died := cachedir.Boot{Trying: &cachedir.Trial{Ref: w.publish("a", 1).Ref(), Boot: bootguard.BootID(), First: 1}}
			if err := d.SetBoot("a", died); err != nil {
				t.Fatal(err)
			}
			d.Close()
			w.publish("b", 1)
			disk, _ := hangingSyncs(t, hangs)
			var s *subscribe.Subscriber
			within(t, prompt, "the start", func() {
				var err error
				if s, err = subscribe.Open(t.Context(), subscribe.OnDisk(cfg, disk)); err != nil {
					t.Error(err)
				}
				awaitVersion(t, s, "a", 1)
				awaitVersion(t, s, "b", 1)
			})
			within(t, 20*time.Second, "Close", func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			if deaths := cachedir.New(cfg.CacheDir).Boot("a").Deaths; len(deaths) != 1 || deaths[0].Count != 1 {
				t.Errorf("boot.json counts %+v, want one death", deaths)
			}
		})
	}
}
