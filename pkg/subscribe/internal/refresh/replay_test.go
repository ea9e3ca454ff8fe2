package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// replayed is a replay that a test ordered.
type replayed struct {
	t       *testing.T
	mu      sync.Mutex
	results []ReplayResult // guarded by mu
	failed  []error        // of retried attempts; guarded by mu
}

// retried returns the errors of the attempts that were retried.
func (g *replayed) retried() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.failed)
}

// ended returns the results.
func (g *replayed) ended() []ReplayResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.results)
}

// states returns the changes of states.
func (r *rig) states() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes)
}

// replay orders a replay of prices.
func (r *rig) replay(o Replay) *replayed {
	r.t.Helper()
	got := &replayed{t: r.t}
	o.Dataset = "prices"
	o.Ended = func(result ReplayResult) {
		got.mu.Lock()
		defer got.mu.Unlock()
		got.results = append(got.results, result)
	}
	o.Failed = func(err error) {
		got.mu.Lock()
		defer got.mu.Unlock()
		got.failed = append(got.failed, err)
	}
	if err := r.engine.Replay(o); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return got
}

// ends fails the test unless the replay ended once, with an error that has the text, or without one if the text is empty.
func (g *replayed) ends(text string) ReplayResult {
	g.t.Helper()
	all := g.ended()
	if len(all) != 1 {
		g.t.Fatalf("the replay has %d results, want 1", len(all))
	}
	result := all[0]
	if text == "" && result.Err != nil || text != "" && (result.Err == nil || !strings.Contains(result.Err.Error(), text)) {
		g.t.Errorf("the replay ends with %v, want %q", result.Err, text)
	}
	return result
}

func (g *replayed) open() {
	g.t.Helper()
	if all := g.ended(); len(all) != 0 {
		g.t.Fatalf("the replay has ended: %+v", all)
	}
}

// A replay without a load reports the served version to the Watcher and loads nothing.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		r.replay(Replay{}).ends("no version of prices is served yet")
		r.announce("prices", 1, 2)
		served := r.engine.Served("prices")
		if got := r.replay(Replay{ID: "a"}).ends(""); got.Version != served.Ref() || got.Pull.Bytes != 0 {
			t.Errorf("%+v", got)
		}
		r.replay(Replay{ID: "b", Version: served.Ref()}).ends("")
		r.replay(Replay{Version: dataset.Ref{Version: 1}}).ends("version 2 is served, and not version 1")
		r.replay(Replay{Version: dataset.Ref{Version: 2, ID: dataset.VersionID{1}}}).ends("is served, and not version 2 (01")
		if r.engine.Served("prices") != served {
			t.Error("the replay replaced the served version")
		}
		r.wantLoads("prices/1", "prices/2")
		want := `replayed a prices/2: prices/2 -> prices/2, changes ""`
		if got := r.reports(); !slices.Contains(got, want) {
			t.Errorf("the reports %q lack %q", got, want)
		}
	})
}

// A full replay loads the served version, and replaces the table. The state does not change.
func TestFullReplay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.reload = func(context.Context, func()) error { <-gate; return nil }
		r.start(config)
		r.announce("prices", 1)
		states := len(r.states())
		got := r.replay(Replay{ID: "a", Full: true})
		got.open()
		if v := r.engine.Served("prices"); v.Value != "prices/1" {
			t.Errorf("%s is served during the load", v.Value)
		}
		r.replay(Replay{Full: true}).ends("another replay of prices is loading it")
		r.replay(Replay{ID: "b"}).ends("")
		pass(time.Second)
		close(gate)
		synctest.Wait()
		result := got.ends("")
		if result.Pull.Bytes != 9 || !result.Pull.Full || result.Duration != time.Second || result.Version != r.engine.Served("prices").Ref() {
			t.Errorf("%+v", result)
		}
		if v := r.engine.Served("prices"); v.Value != "prices/1'" || v.Pull.Bytes != 9 {
			t.Errorf("%+v is served", v)
		}
		if len(r.states()) != states {
			t.Errorf("the state changed: %+v", r.states()[states:])
		}
		r.wantLoads("prices/1", "prices/1 again")
		r.announce("prices", 2)
		r.serves("prices", 2)
	})
}

// The changes since an earlier version need its deltas in the record.
func TestReplayFromVersion(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		five := rec("prices", 5)
		five.Snapshot.Version = 3
		five.Deltas = []dataset.Object{{Version: 4}, {Version: 5}}
		r.versions <- five
		synctest.Wait()
		r.replay(Replay{From: 5}).ends("there are no changes since version 5")
		r.replay(Replay{From: 2}).ends("version 5 is loaded from the snapshot of version 3, so there are changes since that and not since version 2")
		r.replay(Replay{ID: "a", From: 3}).ends("")
		want := `replayed a prices/5: prices/5 -> prices/5', changes "since 3"`
		if got := r.reports(); !slices.Contains(got, want) {
			t.Errorf("the reports %q lack %q", got, want)
		}
	})
}

// A version that is announced before the load begins is loaded first, and then decides whether the replay is allowed.
func TestReplayWaitsForTheTarget(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 2 {
				<-gate
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1, 2)
		named := r.replay(Replay{Version: dataset.Ref{Version: 1}, Full: true})
		named.open()
		close(gate)
		synctest.Wait()
		named.ends("version 2 is served, and not version 1")
		r.replay(Replay{Full: true}).ends("")
		r.wantLoads("prices/1", "prices/2", "prices/2 again")
	})
}

// A failed replay is retried with a backoff, a few times, and leaves the version served and the state as they were.
func TestReplayFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var fail atomic.Pointer[error]
		r.reload = func(context.Context, func()) error {
			if err := *fail.Load(); err != errPanic {
				return err
			}
			panic("in the loader")
		}
		r.start(config)
		r.announce("prices", 1)
		states := len(r.states())
		fail.Store(&errLoad)
		got := r.replay(Replay{Full: true})
		got.open()
		if len(got.retried()) != 1 || !errors.Is(got.retried()[0], errLoad) {
			t.Errorf("%v", got.retried())
		}
		r.announce("prices", 2) // does not wait for the backoff
		r.serves("prices", 2)
		pass(10 * time.Minute)
		got.ends("no luck")
		if len(got.retried()) != maxReplayTries-1 || len(r.failed()) != 0 {
			t.Errorf("%d retries, failures %+v", len(got.retried()), r.failed())
		}
		fail.Store(&errPanic)
		panicked := r.replay(Replay{Full: true})
		fail.Store(new(error))
		panicked.open()
		pass(time.Minute)
		panicked.ends("")
		for _, c := range r.states()[states:] {
			if c.Now == fleet.Failing {
				t.Errorf("the state changed: %+v", c)
			}
		}
	})
}

var errPanic = errors.New("panics")

// The version that is served can be replayed although a newer one fails.
func TestReplayWhileTheTargetFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 2 {
				return errLoad
			}
			return nil
		}
		r.start(config)
		r.announce("prices", 1, 2)
		failed := len(r.failed())
		r.replay(Replay{Full: true, Version: dataset.Ref{Version: 1}}).ends("")
		if len(r.failed()) != failed {
			t.Error("the replay hastened the retry")
		}
		pass(time.Minute)
		if len(r.failed()) <= failed {
			t.Error("the target is not retried after the replay")
		}
		r.serves("prices", 1)
	})
}

// A load that stalls is cancelled, and one that hangs is abandoned and ends the replay. Other datasets and versions go on.
func TestReplayHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		hang := make(chan struct{})
		defer close(hang)
		var hangs atomic.Bool
		r.reload = func(ctx context.Context, _ func()) error {
			if !hangs.Load() {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			<-hang
			return nil
		}
		cfg := config
		cfg.Datasets = []string{"prices", "rates"}
		cfg.Lanes = 1
		r.start(cfg)
		r.announce("prices", 1)
		got := r.replay(Replay{Full: true})
		pass(cfg.Stall)
		if len(got.retried()) != 1 || !errors.Is(got.retried()[0], ErrStalled) {
			t.Errorf("%v", got.retried())
		}
		hangs.Store(true)
		pass(2 * time.Second)
		r.announce("rates", 1)
		r.serves("rates", 1)
		pass(cfg.Stall + longestGrace)
		if result := got.ends(ErrAbandoned.Error()); !errors.Is(result.Err, ErrAbandoned) {
			t.Errorf("%v", result.Err)
		}
		r.serves("prices", 1)
		r.announce("prices", 2)
		r.serves("prices", 2)
	})
}

// The number of replays that wait for the loop is bounded.
func TestReplaysWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		gate := make(chan struct{})
		r.onSwap = func(*Served[string]) { <-gate }
		r.announce("prices", 1)
		var ended atomic.Int64
		for i := range pendingReplays + 3 {
			err := r.engine.Replay(Replay{ID: fmt.Sprint(i), Dataset: "prices", Ended: func(ReplayResult) { ended.Add(1) }})
			if want := i >= pendingReplays; errors.Is(err, ErrReplaysWait) != want {
				t.Errorf("replay %d: %v", i, err)
			}
		}
		close(gate)
		synctest.Wait()
		if ended.Load() != pendingReplays {
			t.Errorf("%d replays ended", ended.Load())
		}
	})
}

// A Watcher that panics at a replay does not keep the replay open.
func TestReplayWatcherPanics(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		r.announce("prices", 1)
		var calm atomic.Bool
		r.onReplay = func() {
			if !calm.Load() {
				panic("in the watcher")
			}
		}
		r.replay(Replay{}).ends("")
		pass(time.Minute)
		r.replay(Replay{Full: true}).ends("")
		pass(time.Minute)
		calm.Store(true)
		r.replay(Replay{Full: true}).ends("")
		if v := r.engine.Served("prices").Value; v != "prices/1''" {
			t.Errorf("%s is served", v)
		}
	})
}
