package refresh

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A version whose Finish hangs is abandoned when the next Finish is called, and not earlier.
func TestNextFinishAbandonsTheOneThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		calls := 0
		r.finish = func(string, bool) error {
			if calls++; calls == 1 {
				<-gate
			}
			r.report("call %d of finish", calls)
			return nil
		}
		r.start(config)
		r.announce("prices", 1)
		pass(config.Stall)
		abandons := func() (abandoned []string) {
			for _, s := range r.reports() {
				if strings.HasPrefix(s, "abandoned ") || strings.HasPrefix(s, "call ") {
					abandoned = append(abandoned, s)
				}
			}
			return abandoned
		}
		if abandoned := abandons(); len(abandoned) > 0 {
			t.Errorf("without a next version, the loader got %q", abandoned)
		}
		r.announce("prices", 2)
		r.announce("prices", 3)
		pass(time.Second)
		if abandoned, want := abandons(), []string{"abandoned " + rec("prices", 1).ID(), "call 2 of finish", "call 3 of finish"}; !slices.Equal(abandoned, want) {
			t.Errorf("the loader got %q, want %q", abandoned, want)
		}
		close(gate)
		synctest.Wait()
	})
}

// After the engine's end, Finish calls run in order for finishGrace altogether; the rest is dropped.
func TestFinishAfterTheEndIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var calls []string
		r.finish = func(name string, swapped bool) error {
			mu.Lock()
			calls = append(calls, fmt.Sprintf("%s %v", name, swapped))
			mu.Unlock()
			if swapped {
				time.Sleep(finishGrace * 3 / 5)
			}
			return nil
		}
		cfg := config
		cfg.Datasets = []string{"prices"}
		r.start(cfg)
		for v := range uint64(4) {
			r.announce("prices", v+1)
			pass(time.Millisecond)
		}
		began := time.Now()
		r.stop()
		if d := time.Since(began); d > finishGrace+time.Second {
			t.Errorf("the engine ended after %s, want %s at the most", d, finishGrace)
		}
		pass(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"prices true", "prices true", "prices false"}; !slices.Equal(calls, want) {
			t.Errorf("the calls of Finish were %q, want %q", calls, want)
		}
	})
}
