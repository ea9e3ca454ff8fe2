package refresh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
)

// Invariant: a served dataset is refreshed within a second of its event, however many first attempts of others hang, whether or not
// they heed their cancellation. The number of concurrent loads is bounded.
func TestServedDatasetPassesAnyNumberThatHang(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		for _, n := range []int{8, 400} {
			for _, deaf := range []bool{false, true} {
				t.Run(fmt.Sprintf("lanes=%d/n=%d/deaf=%t", lanes, n, deaf), func(t *testing.T) {
					bubble(t, func(t *testing.T, r *rig) { passesHanging(t, r, lanes, n, deaf) })
				})
			}
		}
	}
}

func passesHanging(t *testing.T, r *rig, lanes, n int, deaf bool) {
	cfg := config
	cfg.Lanes, cfg.Stall, cfg.Datasets = lanes, 30*time.Second, nil
	for i := range n {
		cfg.Datasets = append(cfg.Datasets, fmt.Sprint("bad", i))
	}
	cfg.Datasets = append(cfg.Datasets, "good")
	release := make(chan struct{})
	defer close(release)
	var hanging atomic.Int64
	r.load = func(ctx context.Context, rec dataset.VersionRecord, _ func()) error {
		if rec.Dataset == "good" {
			return nil
		}
		hanging.Add(1)
		defer hanging.Add(-1)
		if deaf {
			<-release
		} else {
			<-ctx.Done()
		}
		return errLoad
	}
	r.start(cfg)
	r.announce("good", 1)
	pass(time.Second)
	for _, name := range cfg.Datasets[:n] {
		r.announce(name, 1)
	}
	for v := range uint64(15) {
		began := time.Now()
		r.announce("good", v+2)
		for r.engine.Served("good").Record.Version != v+2 && time.Since(began) < time.Minute {
			pass(10 * time.Millisecond)
		}
		if d := time.Since(began); d > time.Second {
			t.Fatalf("event %d took %s", v+1, d)
		}
		if hang := hanging.Load(); !deaf && hang > int64(maxWorkers(cfg)) {
			t.Fatalf("%d loads hang, want at most %d", hang, maxWorkers(cfg))
		}
		pass(1700 * time.Millisecond)
	}
	tried := make(map[string]bool)
	for _, id := range r.loaded() {
		tried[id] = true
	}
	if want := min(n, 2*flightsPerLane*lanes); len(tried) < want {
		t.Errorf("%d of the others were tried, want at least %d", len(tried), want)
	}
}

// A refresh that was cancelled to make room for another one fails, and is retried.
func TestEvictedRefreshIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		cfg.Lanes = 1
		for i := range flightsPerLane {
			cfg.Datasets = append(cfg.Datasets, fmt.Sprint("more", i))
		}
		recovered := make(chan struct{})
		r.load = func(ctx context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Dataset == "good" {
				return nil
			}
			select {
			case <-recovered:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r.start(cfg)
		r.announce("good", 1)
		for _, name := range cfg.Datasets {
			if name != "good" {
				r.announce(name, 1)
			}
		}
		pass(20 * time.Second)
		r.announce("good", 2)
		r.serves("good", 2)
		f := r.failed()
		if len(f) != 1 || f[0].Record.Dataset != "bad0" || !errors.Is(f[0].Err, ErrStalled) || !strings.Contains(f[0].Err.Error(), "another dataset waited") {
			t.Fatalf("the failures are %+v, want one of bad0, which hung for the longest", f)
		}
		close(recovered)
		pass(time.Minute)
		for _, name := range cfg.Datasets[:8] {
			r.serves(name, 1)
		}
	})
}

// Frequent versions of served datasets do not delay the first versions of others for long.
func TestServedDatasetsLeaveTurnsToOthers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Lanes, cfg.Datasets = 1, []string{"a", "b", "new1", "new2"}
		r.stored = map[string]uint64{"a": 1, "b": 1}
		r.load = func(context.Context, dataset.VersionRecord, func()) error {
			<-time.After(150 * time.Millisecond)
			return nil
		}
		r.start(cfg)
		r.announce("a", 2)
		r.announce("b", 2)
		r.announce("new1", 1)
		r.announce("new2", 1)
		for v := range uint64(10) {
			r.announce("a", v+3)
			r.announce("b", v+3)
			pass(100 * time.Millisecond)
		}
		r.serves("new1", 1)
		r.serves("new2", 1)
	})
}
