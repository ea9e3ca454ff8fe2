package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

func TestVersionsAreServedInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		select {
		case <-r.engine.First("prices"):
			t.Fatal("First is closed before anything is served")
		default:
		}
		for v := range uint64(3) {
			r.announce("prices", v+1)
			r.serves("prices", v+1)
		}
		<-r.engine.First("prices")
		r.announce("prices", 3, 2, 1) // no-ops
		r.announce("unknown", 9)
		r.serves("prices", 3)
		r.wantLoads("prices/1", "prices/2", "prices/3")
		if s := r.engine.Served("prices"); s.Value != "prices/3" || s.Stored || s.Pull.Bytes != 7 {
			t.Errorf("served is %+v", s)
		}
		if r.engine.Served("unknown") != nil || r.engine.First("unknown") != nil {
			t.Error("an unknown dataset is served")
		}
	})
}

func TestBurstCollapsesToTheNewest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.load = func(context.Context, dataset.VersionRecord, func()) error { <-gate; return nil }
		r.start(config)
		for v := range uint64(1000) {
			r.announce("prices", v+1)
		}
		r.announce("prices", 500)
		close(gate)
		synctest.Wait()
		r.serves("prices", 1000)
		r.wantLoads("prices/1", "prices/1000")
	})
}

func TestOneRefreshPerDatasetAndAsManyAsLanes(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Lanes, cfg.Datasets = 3, nil
		for i := range 10 {
			cfg.Datasets = append(cfg.Datasets, fmt.Sprintf("d%d", i))
		}
		var running, peak atomic.Int64
		var busy [10]atomic.Bool
		r.load = func(_ context.Context, rec dataset.VersionRecord, progress func()) error {
			peak.Store(max(peak.Load(), running.Add(1)))
			defer running.Add(-1)
			i := int(rec.Dataset[1] - '0')
			if busy[i].Swap(true) {
				t.Errorf("two refreshes of %s at a time", rec.Dataset)
			}
			defer busy[i].Store(false)
			for range 10 {
				time.Sleep(100 * time.Millisecond) // the bubble's clock: a refresh that takes a second
				progress()
			}
			return nil
		}
		r.start(cfg)
		for v := range uint64(5) {
			for _, name := range cfg.Datasets {
				r.announce(name, v+1)
			}
		}
		pass(time.Minute)
		for _, name := range cfg.Datasets {
			r.serves(name, 5)
		}
		if peak.Load() != 3 {
			t.Errorf("at most %d refreshes ran at a time, want 3", peak.Load())
		}
		// Datasets get a lane in the order in which they were queued, and load the version that is newest then.
		if got := r.loaded(); len(got) > 13 || !slices.Contains(got, "d9/5") || slices.Contains(got, "d9/1") {
			t.Errorf("loaded %q", got)
		}
	})
}

func TestBackoffGrowsWithJitterToItsCapForEver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(context.Context, dataset.VersionRecord, func()) error { return errLoad }
		r.start(config)
		r.announce("prices", 1)
		pass(time.Hour)
		if len(r.at) < 60 {
			t.Fatalf("%d attempts in an hour", len(r.at))
		}
		var pauses []time.Duration
		for i := range r.at[1:] {
			want := min(config.Retry.Initial<<min(i, 20), config.Retry.Max)
			pause := r.at[i+1] - r.at[i]
			pauses = append(pauses, pause)
			if pause < want/2 || pause > want*3/2+time.Millisecond {
				t.Errorf("pause %d is %s, want %s give or take half", i+1, pause, want)
			}
		}
		if slices.Min(pauses[10:]) == slices.Max(pauses[10:]) {
			t.Error("all pauses are the same: there is no jitter")
		}
		f := r.failed()[4]
		if f.Attempt != 5 || !errors.Is(f.Err, errLoad) || f.Record.ID() != "prices/1" {
			t.Errorf("the fifth failure is %+v", f)
		}
		h := r.engine.Health("prices")
		if h.Failures != len(r.failed()) || h.Err != errLoad || h.Newest != 1 || h.FailingSince.Sub(r.began) != 0 {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestFailureIsForgottenWithSuccess(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var fail atomic.Bool
		fail.Store(true)
		r.load = func(context.Context, dataset.VersionRecord, func()) error {
			if fail.Load() {
				return errLoad
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1)
		pass(10 * time.Minute)
		fail.Store(false)
		pass(time.Minute)
		r.serves("prices", 1)
		if h := r.engine.Health("prices"); h.Err != nil || h.Failures != 0 || !h.FailingSince.IsZero() {
			t.Errorf("after success health is %+v", h)
		}
		fail.Store(true)
		before := len(r.failed())
		r.announce("prices", 2)
		pass(config.Retry.Initial * 3 / 2)
		if n := len(r.failed()) - before; n < 2 {
			t.Errorf("%d attempts in the first seconds after a success: the backoff did not begin anew", n)
		}
		r.serves("prices", 1)
	})
}

func TestNewerVersionDoesNotWaitForThePoisonOne(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 2 {
				return errLoad
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1, 2)
		pass(10 * time.Minute)
		r.serves("prices", 1)
		attempts := len(r.loaded())
		// However long the backoff has become, the newer version begins within Retry.Initial of the failure.
		r.announce("prices", 3)
		pass(config.Retry.Initial)
		r.serves("prices", 3)
		if got := r.loaded(); len(got) != attempts+1 {
			t.Errorf("loaded %q", got[attempts:])
		}
	})
}

// A version that was announced during the last attempt at the failing one does not wait either.
func TestVersionAnnouncedDuringAFailingAttemptDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var slow atomic.Bool
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version != 2 {
				return nil
			}
			if slow.Load() {
				time.Sleep(time.Second)
			}
			return errLoad
		}
		r.start(config)
		r.announce("prices", 1, 2)
		pass(5 * time.Minute) // the pauses are the longest there are by now
		slow.Store(true)
		for n := len(r.loaded()); len(r.loaded()) == n; {
			pass(100 * time.Millisecond)
		}
		r.announce("prices", 3)
		pass(time.Second + config.Retry.Initial)
		r.serves("prices", 3)
	})
}

func TestPublishingDoesNotDriveAttemptsWhileRelaysAreDown(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(context.Context, dataset.VersionRecord, func()) error { return errLoad }
		r.start(config)
		for v := range uint64(1000) {
			r.announce("prices", v+1)
			pass(10 * time.Millisecond)
		}
		if n := len(r.loaded()); n > 22 {
			t.Errorf("%d attempts during 10 s, want at most one in each half initial interval", n)
		}
	})
}

type busy time.Duration

func (b busy) Error() string             { return "busy" }
func (b busy) RetryAfter() time.Duration { return time.Duration(b) }

func TestRetryAfterIsHeeded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var asked atomic.Int64
		asked.Store(int64(10 * time.Second))
		r.load = func(context.Context, dataset.VersionRecord, func()) error {
			return fmt.Errorf("pull: %w", busy(asked.Load()))
		}
		r.start(config)
		r.announce("prices", 1)
		pass(10*time.Second - 1)
		r.wantLoads("prices/1")
		asked.Store(int64(time.Hour)) // more than any relay may ask for
		pass(1)
		r.wantLoads("prices/1", "prices/1")
		pass(config.Retry.Max * 3 / 2)
		r.wantLoads("prices/1", "prices/1", "prices/1")
	})
}

func TestStallIsCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(ctx context.Context, rec dataset.VersionRecord, progress func()) error {
			for range 10 { // slow, but it moves
				time.Sleep(config.Stall * 9 / 10)
				progress()
			}
			if rec.Version == 1 {
				return ctx.Err()
			}
			<-ctx.Done()
			return ctx.Err()
		}
		r.start(config)
		r.announce("prices", 1)
		pass(9 * config.Stall)
		r.serves("prices", 1)
		r.announce("prices", 2)
		pass(10*config.Stall - 1)
		if len(r.failed()) != 0 {
			t.Fatalf("cancelled early: %v", r.failed()[0].Err)
		}
		pass(1)
		if f := r.failed(); len(f) != 1 || !errors.Is(f[0].Err, ErrStalled) {
			t.Fatalf("failures are %v, want one that is ErrStalled", f)
		}
		r.serves("prices", 1)
	})
}

func TestPanicInALaneIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if len(r.loads)%2 == 1 {
				panic("boom")
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1)
		f := r.failed()
		if len(f) != 1 || !strings.HasPrefix(f[0].Err.Error(), "panic: boom (at ") || !strings.Contains(guard.Stack(f[0].Err), "refresh_test.go") {
			t.Fatalf("failures are %v, want the panic with its stack", f)
		}
		pass(config.Retry.Initial * 3 / 2)
		r.serves("prices", 1)
		if h := r.engine.Health("prices"); h.Failed != 1 || h.Panicked != 1 || guard.Stack(h.LastErr) == "" {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestLoopRestartsAfterAPanic(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		panics := 0
		r.onSwap = func(now *Served[string]) {
			if now.Record.Version == 2 {
				panics++
				panic("in the loop")
			}
		}
		r.finish = func(_ string, swapped bool) error {
			if !swapped {
				t.Error("Finish got false for a swapped version")
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1, 2)
		r.serves("prices", 2) // the swap was made before the panic
		pass(config.Retry.Initial * 3 / 2)
		r.announce("prices", 3)
		r.serves("prices", 3)
		reports := strings.Join(r.reports(), "\n")
		if panics != 1 || !strings.Contains(reports, "restarted: panic: in the loop (at ") || !strings.Contains(reports, "restart of the loop: caught up") {
			t.Errorf("%d panics; the watcher received\n%s", panics, reports)
		}
		// Both lanes still work.
		if len(r.engine.flights) != 0 {
			t.Errorf("%d flights are left", len(r.engine.flights))
		}
	})
}
