package refresh

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// hang makes Load ignore its context and block at the versions for which at returns true, until release is called.
func (r *rig) hang(at func(version uint64) bool) (release func()) {
	gate := make(chan struct{})
	r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
		if at(rec.Version) {
			<-gate
		}
		return nil
	}
	return func() { close(gate); synctest.Wait() }
}

// A load that ignores its context is abandoned. Neither its dataset's next version nor another dataset waits for it.
func TestRefreshThatHangsIsAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets, cfg.Lanes = []string{"prices", "rules"}, 1
		var finished atomic.Int64
		r.finish = func(_ string, swapped bool) error {
			if !swapped {
				finished.Add(1)
			}
			return nil
		}
		release := r.hang(func(version uint64) bool { return version == 2 })
		r.start(cfg)
		r.announce("prices", 1, 2)
		pass(cfg.Stall + longestGrace - 1)
		if len(r.failed()) != 0 {
			t.Fatalf("abandoned early: %v", r.failed()[0].Err)
		}
		pass(1)
		f := r.failed()
		if len(f) != 1 || !errors.Is(f[0].Err, ErrAbandoned) || !strings.Contains(f[0].Err.Error(), cfg.Stall.String()) || !f[0].Retry.IsZero() {
			t.Fatalf("the failures are %+v, want one that is ErrAbandoned", f)
		}
		r.is("prices", fleet.Failing)
		r.serves("prices", 1)
		r.announce("rules", 1) // the lane goes on
		r.serves("rules", 1)
		pass(time.Hour)
		r.wantLoads("prices/1", "prices/2", "rules/1") // the goroutine that hangs is the only one at this version
		r.announce("prices", 3)
		pass(cfg.Retry.Initial)
		r.serves("prices", 3)
		release()
		r.serves("prices", 3) // the late result is dropped
		if finished.Load() != 1 {
			t.Error("the abandoned version was not finished")
		}
		if len(r.engine.flights) != 0 || len(r.engine.datasets["prices"].abandoned) != 0 {
			t.Errorf("%d flights, %v hang", len(r.engine.flights), r.engine.datasets["prices"].abandoned)
		}
	})
}

func TestRefreshThatHangsIsRetriedWhenItReturns(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		release := r.hang(func(uint64) bool { return true })
		r.start(config)
		r.announce("prices", 1)
		pass(time.Hour)
		r.serves("prices", 0)
		r.is("prices", fleet.Failing)
		release()
		r.serves("prices", 1)
		r.wantLoads("prices/1", "prices/1")
	})
}

// Invariant: however many versions hang, and for how long, the number of goroutines is bounded, other datasets go on, and
// the error says what is wrong.
func TestGoroutinesThatHangAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"prices", "rules"}
		release := r.hang(func(version uint64) bool { return version < 1000 })
		r.start(cfg)
		before := runtime.NumGoroutine()
		for v := range uint64(50) {
			r.announce("prices", v+1)
			pass(time.Hour)
		}
		if n := runtime.NumGoroutine() - before; n > maxAbandoned {
			t.Errorf("%d goroutines hang", n)
		}
		if n := len(r.loaded()); n != maxAbandoned {
			t.Errorf("loaded %q", r.loaded())
		}
		if h := r.engine.Health("prices"); !errors.Is(h.Err, ErrAbandoned) || !strings.Contains(h.Err.Error(), fmt.Sprint(maxAbandoned, " goroutines hang")) {
			t.Errorf("the error is %v", h.Err)
		}
		r.announce("rules", 1000)
		r.serves("rules", 1000)
		r.announce("prices", 1000)
		r.serves("prices", 0)
		release()
		pass(config.Retry.Max * 2)
		r.serves("prices", 1000)
		r.is("rules", fleet.Blind)
		if n := runtime.NumGoroutine() - before; n > 0 {
			t.Errorf("%d goroutines are left", n)
		}
	})
}

// The cache folder's disk hangs after the swap: the version is served, and so are those after it.
func TestFinishThatHangsIsAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		var hanging atomic.Bool
		hanging.Store(true)
		r.finish = func(string, bool) error {
			if hanging.Swap(false) {
				<-gate
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1)
		r.serves("prices", 1)
		r.announce("prices", 2)
		r.serves("prices", 2) // no refresh waits for the disk
		pass(config.Stall)
		close(gate)
		synctest.Wait()
		reports := r.reports()
		if !slices.ContainsFunc(reports, func(s string) bool { return strings.HasPrefix(s, "finished prices: "+ErrAbandoned.Error()) }) || len(r.failed()) != 0 {
			t.Errorf("the watcher received %q, %v", reports, r.failed())
		}
		if h := r.engine.Health("prices"); h.FinishErr != nil {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestFinishThatReturnsLate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.finish = func(string, bool) error { <-gate; return nil }
		r.start(config)
		r.announce("prices", 1)
		pass(config.Stall)
		if h := r.engine.Health("prices"); !errors.Is(h.FinishErr, ErrAbandoned) || h.Err != nil {
			t.Errorf("health is %+v", h)
		}
		close(gate)
		synctest.Wait()
		if h := r.engine.Health("prices"); h.FinishErr != nil || r.reports()[len(r.reports())-1] != "finished prices: <nil>" {
			t.Errorf("health is %+v, reports %q", h, r.reports())
		}
	})
}

// If the disk of the cache folder hangs at the start, the instance loads from the relays.
func TestStoredVersionThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.storedHang = gate
		r.log = logOf("prices", 1)
		r.start(config)
		r.serves("prices", 0)
		pass(config.Stall + longestGrace)
		r.serves("prices", 1)
		if reports := r.reports(); !slices.ContainsFunc(reports, func(s string) bool { return strings.HasPrefix(s, "stored prices unusable: "+ErrAbandoned.Error()) }) {
			t.Errorf("the watcher received %q", reports)
		}
		close(gate)
		synctest.Wait()
		r.serves("prices", 1)
	})
}

// Run does not wait for abandoned goroutines.
func TestRunEndsWhileARefreshHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		release := r.hang(func(uint64) bool { return true })
		r.start(config)
		r.announce("prices", 1)
		began := time.Now()
		r.stop()
		r.stop = nil
		if d := time.Since(began); d > longestGrace {
			t.Errorf("it ended after %s", d)
		}
		release()
	})
}
