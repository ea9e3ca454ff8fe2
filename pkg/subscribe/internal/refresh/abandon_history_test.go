package refresh

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A goroutine hangs at a version of a history that a restore ended. The store's version of the same number is loaded, and its own
// error stays when the goroutine returns.
func TestVersionOfAnotherHistoryHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, now := history(storeA, "old", 4, 5), history(storeA, "new", 4, 5)
		gate, full := make(chan struct{}), errors.New("no space left on device")
		var calls atomic.Int32
		r.finish = func(string, bool) error {
			if calls.Add(1) == 1 {
				<-gate
				return nil
			}
			return full
		}
		i := identify(r, config, old[4], at(storeA, old[4]))
		i.name("p1", storeA, old[4])
		i.serving(old[4])
		pass(config.Stall + longestGrace)
		if h := r.engine.Health("prices"); !errors.Is(h.FinishErr, ErrAbandoned) {
			t.Fatalf("health is %+v", h)
		}
		i.set(at(storeA, now[4]))
		i.name("p2", storeA, now[4])
		pass(time.Second)
		i.name("p2", storeA, now[4])
		pass(time.Second)
		i.serving(now[4])
		if h := r.engine.Health("prices"); h.FinishErr != full {
			t.Errorf("health is %+v", h)
		}
		close(gate)
		synctest.Wait()
		if h := r.engine.Health("prices"); h.FinishErr != full {
			t.Errorf("the old version is kept, and health is %+v", h)
		}
		if n := len(r.engine.datasets["prices"].abandoned); n != 0 {
			t.Errorf("%d goroutines hang", n)
		}
	})
}
