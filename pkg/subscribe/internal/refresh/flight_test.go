package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// eight returns a config of eight datasets and one more, which is healthy.
func eight() Config {
	cfg := config
	cfg.Lanes, cfg.Datasets = 4, nil
	for i := range 8 {
		cfg.Datasets = append(cfg.Datasets, fmt.Sprint("bad", i))
	}
	cfg.Datasets = append(cfg.Datasets, "good")
	return cfg
}

// Invariant: a healthy dataset is served within a second of its event, while the loads of eight others hang until they are cancelled,
// again and again.
func TestLoadsThatHangHoldUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		r.load = func(ctx context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Dataset != "good" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r.start(cfg)
		for _, name := range cfg.Datasets[:8] {
			r.announce(name, 1)
		}
		var worst time.Duration
		for v := range uint64(400) {
			began := time.Now()
			r.announce("good", v+1)
			for r.engine.Served("good") == nil || r.engine.Served("good").Record.Version != v+1 {
				pass(10 * time.Millisecond)
			}
			worst = max(worst, time.Since(began))
			pass(1700 * time.Millisecond)
		}
		if worst > time.Second {
			t.Errorf("an event of the healthy dataset took up to %s", worst)
		}
		if len(r.failed()) < 24 {
			t.Errorf("%d failures of the others", len(r.failed()))
		}
	})
}

// Invariant: datasets that fail, however slowly, never have all lanes.
func TestDatasetsThatFailNeverHaveAllLanes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		r.load = func(ctx context.Context, rec dataset.VersionRecord, progress func()) error {
			if rec.Dataset == "good" {
				return nil
			}
			for range 300 { // it comes, and is wrong
				if ctx.Err() != nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
				progress()
			}
			return errLoad
		}
		r.start(cfg)
		for _, name := range cfg.Datasets[:8] {
			r.announce(name, 1)
		}
		pass(3 * time.Minute) // all have failed
		for v := range uint64(200) {
			r.announce("good", v+1)
			r.serves("good", v+1)
			pass(1300 * time.Millisecond)
		}
		for _, name := range cfg.Datasets[:8] {
			if n := r.engine.Health(name).Failed; n < 3 {
				t.Errorf("%s was tried %d times", name, n)
			}
		}
	})
}

// Invariant: a healthy dataset is served within seconds of its event, while the first attempts of more datasets hang than there may be
// flights.
func TestFirstAttemptsThatHangHoldUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		for i := range flightsPerLane * cfg.Lanes {
			cfg.Datasets = append(cfg.Datasets, fmt.Sprint("more", i))
		}
		r.load = func(ctx context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Dataset != "good" {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		r.start(cfg)
		for _, name := range cfg.Datasets {
			if name != "good" {
				r.announce(name, 1)
			}
		}
		r.announce("good", 1) // behind all others
		pass(4 * time.Second)
		r.serves("good", 1)
		r.announce("good", 2)
		r.serves("good", 2)
	})
}

// Invariant: a dataset does not wait longer than a second for flights that make progress now and then, whether they are first attempts
// or failed before.
func TestFlightsThatTrickleHoldUpNoOther(t *testing.T) {
	for _, fails := range []bool{false, true} {
		bubble(t, func(t *testing.T, r *rig) {
			cfg := eight()
			began := time.Now()
			r.load = func(ctx context.Context, rec dataset.VersionRecord, progress func()) error {
				switch {
				case rec.Dataset == "good":
					return nil
				case fails && time.Since(began) < time.Second:
					return errLoad
				}
				for ctx.Err() == nil {
					time.Sleep(250 * time.Millisecond)
					progress()
				}
				return ctx.Err()
			}
			r.start(cfg)
			for _, name := range cfg.Datasets[:8] {
				r.announce(name, 1)
			}
			pass(time.Minute)
			r.announce("good", 1)
			pass(time.Second)
			r.serves("good", 1)
		})
	}
}

// A dataset that is already served does not wait when long refreshes have all lanes.
func TestLongRefreshesLeaveALane(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		r.stored = map[string]uint64{"good": 1}
		r.load = func(ctx context.Context, rec dataset.VersionRecord, progress func()) error {
			for rec.Dataset != "good" && ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				progress()
			}
			return ctx.Err()
		}
		r.start(cfg)
		for _, name := range cfg.Datasets[:8] {
			r.announce(name, 1)
		}
		pass(longAfter)
		r.announce("good", 2)
		r.serves("good", 2)
		if n := len(r.loaded()); n != cfg.Lanes+1 {
			t.Errorf("%d refreshes have begun", n)
		}
	})
}

// Of the refreshes that hung, only as many go on at a time as there are lanes.
func TestLoadsThatGoOnWaitForALane(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := eight()
		relay := make(chan struct{})
		var working, most atomic.Int64
		r.load = func(_ context.Context, _ dataset.VersionRecord, progress func()) error {
			<-relay
			for range 20 {
				progress()
				most.Store(max(most.Load(), working.Add(1)))
				time.Sleep(100 * time.Millisecond)
				working.Add(-1)
			}
			return nil
		}
		r.start(cfg)
		for _, name := range cfg.Datasets {
			r.announce(name, 1)
		}
		pass(3 * time.Second)
		if n := len(r.loaded()); n != len(cfg.Datasets) {
			t.Errorf("%d refreshes have begun, want all", n)
		}
		close(relay)
		pass(10 * time.Second)
		for _, name := range cfg.Datasets {
			r.serves(name, 1)
		}
		if n := most.Load(); n > int64(cfg.Lanes) {
			t.Errorf("%d loaded at a time, and there are %d lanes", n, cfg.Lanes)
		}
	})
}

// A slow commit to the cache folder does not delay the next swap. The commits run in order, and at the end finishGrace drops none that it
// suffices for.
func TestNoSwapWaitsForFinish(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var finished atomic.Int64
		r.finish = func(string, bool) error {
			time.Sleep(2 * time.Second)
			finished.Add(1)
			return nil
		}
		r.start(config)
		for v := range uint64(3) {
			r.announce("prices", v+1)
			r.serves("prices", v+1)
		}
		r.announce("prices", 4) // now the refresh waits a little, so that what is kept follows what is served
		r.serves("prices", 3)
		pass(finishWait)
		r.serves("prices", 4)
		r.stop()
		r.stop = nil
		if n := finished.Load(); n != 4 {
			t.Errorf("%d of 4 versions were finished", n)
		}
	})
}

// A folder that could not be read at the start is read when it works again, if no version is served by then.
func TestStoredVersionIsReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		again := make(chan struct{})
		r.again = again
		r.storedE = errors.New("the folder hangs")
		r.stored = map[string]uint64{"prices": 3}
		r.start(config)
		pass(time.Minute)
		r.serves("prices", 0)
		r.storedE = nil
		again <- struct{}{}
		synctest.Wait()
		r.serves("prices", 3)
	})
}
