package refresh

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
)

func TestStoredVersionIsServedFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.stored = map[string]uint64{"prices": 5}
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, errors.New("down") }
		r.start(config)
		r.serves("prices", 5)
		if s := r.engine.Served("prices"); !s.Stored {
			t.Errorf("served is %+v, want Stored", s)
		}
		r.announce("prices", 4, 5)
		r.wantLoads()
		r.announce("prices", 6)
		r.serves("prices", 6)
		if s := r.engine.Served("prices"); s.Stored {
			t.Errorf("served is %+v, want not Stored", s)
		}
	})
}

func TestUnusableStoredVersionIsReportedAndReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.storedE = errors.New("corrupt")
		r.start(config)
		r.serves("prices", 0)
		r.announce("prices", 1)
		r.serves("prices", 1)
		if reports := r.reports(); !slices.Contains(reports, "stored prices unusable: corrupt") || len(r.failed()) != 0 {
			t.Errorf("the watcher received %q and %v", reports, r.failed())
		}
	})
}

func TestFinishErrorIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		full := errors.New("disk full")
		r.finish = func(string, bool) error { return full }
		r.start(config)
		r.announce("prices", 1)
		r.serves("prices", 1)
		if h := r.engine.Health("prices"); h.FinishErr != full || h.Err != nil || len(r.failed()) != 0 {
			t.Errorf("health is %+v", h)
		}
		full = nil
		r.announce("prices", 2)
		if h := r.engine.Health("prices"); h.FinishErr != nil {
			t.Errorf("health is %+v", h)
		}
		r.announce("prices", 3)
		if reports := r.reports(); !slices.Equal(reports, []string{"start: caught up", "finished prices: disk full", "finished prices: <nil>"}) {
			t.Errorf("the watcher received %q", reports)
		}
	})
}

func TestRunEndsInMidRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var finished atomic.Int64
		r.load = func(ctx context.Context, _ dataset.VersionRecord, _ func()) error { <-ctx.Done(); return ctx.Err() }
		r.finish = func(_ string, swapped bool) error { finished.Add(1); return nil }
		r.start(config)
		r.announce("prices", 1)
		r.stop()
		r.stop = nil
		r.serves("prices", 0)
		if len(r.failed()) != 0 || finished.Load() != 0 {
			t.Errorf("ending is a failure: %v", r.failed())
		}
	})
}

// A version that readers saw is finished as swapped, even if Run ends at once.
func TestEndRightAfterASwap(t *testing.T) {
	for range 100 {
		bubble(t, func(t *testing.T, r *rig) {
			var swapped, dropped atomic.Int64
			r.finish = func(_ string, s bool) error {
				if s {
					swapped.Add(1)
				} else {
					dropped.Add(1)
				}
				return nil
			}
			r.start(config)
			go func() { <-r.engine.First("prices"); r.stop() }()
			r.announce("prices", 1)
			if swapped.Load() != 1 || dropped.Load() != 0 {
				t.Fatalf("%d finished as swapped, %d as not", swapped.Load(), dropped.Load())
			}
		})
	}
}
