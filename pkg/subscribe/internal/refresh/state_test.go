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
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

// beacon has a publisher name the newest version of each dataset.
func (r *rig) beacon(newest map[string]uint64) { r.beaconOf("p1", time.Second, newest) }

func (r *rig) beaconOf(publisher string, every time.Duration, newest map[string]uint64) {
	words := map[string][]events.Report{}
	for name, v := range newest {
		words[name] = []events.Report{{Version: v, At: time.Now(), Every: every, Publisher: publisher}}
	}
	r.beacons <- events.Beacons{Reports: words}
	synctest.Wait()
}

// is checks the state of a dataset, both the last reported one and the present one.
func (r *rig) is(name string, want fleet.State) {
	r.t.Helper()
	h, _, j := r.engine.Judge(name)
	if j.State != want || h.State != want {
		r.t.Fatalf("after %s %s is %s, and was reported as %s; want %s", time.Since(r.began), name, j.State, h.State, want)
	}
	if s := r.engine.State(name); s != want {
		r.t.Fatalf("after %s the state of %s is %s, want %s", time.Since(r.began), name, s, want)
	}
	if !j.Since.Equal(h.Since) || r.wall == nil && j.Since.After(time.Now()) {
		r.t.Fatalf("after %s %s is %s since %s, and was reported to be since %s", time.Since(r.began), name, j.State, j.Since, h.Since)
	}
}

// went returns the states that the dataset went through, as "blind>fresh".
func (r *rig) went(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	states := []string{string(fleet.Blind)}
	for _, c := range r.changes {
		if c.Dataset != name {
			continue
		}
		if states[len(states)-1] != string(c.Was) || c.Was == c.Now || c.Why == "" || c.Since.IsZero() {
			r.t.Errorf("after %q the change is %+v", states, c)
		}
		states = append(states, string(c.Now))
	}
	return strings.Join(states, ">")
}

var errDown = errors.New("down")

func TestStatesFromTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.log = func() (map[string]dataset.VersionRecord, error) { <-gate; return nil, nil }
		r.start(config)
		r.is("prices", fleet.Blind)
		close(gate)
		synctest.Wait()
		r.is("prices", fleet.Waiting)

		load := make(chan error)
		r.load = func(context.Context, dataset.VersionRecord, func()) error { return <-load }
		r.announce("prices", 1)
		r.is("prices", fleet.Refreshing)
		load <- nil
		synctest.Wait()
		r.is("prices", fleet.Fresh)
		r.announce("prices", 2)
		load <- errLoad
		synctest.Wait()
		r.is("prices", fleet.Failing)
		pass(config.Retry.Initial * 3 / 2)
		r.is("prices", fleet.Failing) // while it is tried again
		load <- nil
		synctest.Wait()
		r.is("prices", fleet.Fresh)
		if went := r.went("prices"); went != "blind>waiting>refreshing>fresh>refreshing>failing>fresh" {
			t.Error(went)
		}
		h := r.engine.Health("prices")
		if h.Failed != 1 || h.Panicked != 0 || h.LastErr != errLoad || h.LastErrAt.IsZero() || h.Err != nil || !h.BehindSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
	})
}

// A beacon that comes just after the dataset became blind does not hide that from the Watcher: a status may have shown it.
func TestBlindIsReportedBeforeABeaconEndsIt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var slow atomic.Bool
		r.wall = func() time.Time {
			if slow.CompareAndSwap(true, false) {
				time.Sleep((events.BlindAfter + 1) * time.Second)
			}
			return time.Now()
		}
		r.start(config)
		r.announce("prices", 1)
		r.beacon(map[string]uint64{"prices": 1})
		want := r.went("prices")
		for range 50 {
			slow.Store(true) // the loop takes so long that the dataset becomes blind, and then finds a beacon
			r.versions <- rec("prices", 1)
			time.Sleep(events.BlindAfter * time.Second)
			r.beacon(map[string]uint64{"prices": 1})
			want += ">blind>fresh"
		}
		if went := r.went("prices"); went != want {
			t.Errorf("the Watcher received %s", went)
		}
	})
}

// Changes that every refresh causes are usual; others deserve a log line.
func TestUsualChanges(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.start(config)
		r.announce("prices", 1)
		r.announce("prices", 2)
		r.beacon(map[string]uint64{"prices": 2})
		pass(time.Hour)
		r.announce("prices", 3) // blind meanwhile
		r.beacon(map[string]uint64{"prices": 3})
		r.announce("prices", 4)
		var usual []string
		for _, c := range r.changes {
			usual = append(usual, fmt.Sprintf("%s>%s %v", c.Was, c.Now, c.Usual))
		}
		want := []string{
			"blind>waiting false", "waiting>refreshing false", "refreshing>fresh false", "fresh>refreshing true", "refreshing>fresh true",
			"fresh>blind false", "blind>fresh false", "fresh>refreshing true", "refreshing>fresh true",
		}
		if !slices.Equal(usual, want) {
			t.Errorf("the changes are %q", usual)
		}
	})
}

// Datasets that wait for a lane are lagging, which is no reason for a warning either.
func TestWaitingForALaneIsUsual(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Lanes, cfg.Datasets = 1, []string{"ads", "prices"}
		r.start(cfg)
		r.announce("ads", 1)
		r.announce("prices", 1)
		gate := make(chan struct{})
		r.load = func(context.Context, dataset.VersionRecord, func()) error { <-gate; return nil }
		r.changes = nil
		r.announce("ads", 2)
		r.announce("prices", 2)
		r.is("prices", fleet.Lagging)
		close(gate)
		synctest.Wait()
		r.is("prices", fleet.Fresh)
		for _, c := range r.changes {
			if !c.Usual {
				t.Errorf("the change is %+v", c)
			}
		}
		if len(r.changes) != 5 {
			t.Errorf("%d changes", len(r.changes))
		}
	})
}

func TestBlindAfterThreePeriodsAndBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.start(config)
		r.is("prices", fleet.Fresh) // the catch-up confirms the newest version, for three periods of the default
		pass(events.BlindAfter*events.DefaultBeaconEvery - 1)
		r.is("prices", fleet.Fresh)
		pass(1)
		r.is("prices", fleet.Blind)
		if j := r.engine.Health("prices").Since; j.Sub(r.began) != events.BlindAfter*events.DefaultBeaconEvery {
			t.Errorf("blind since %s", j.Sub(r.began))
		}
		r.announce("prices", 2) // an event says that there is a version, and not that there is no newer one
		r.serves("prices", 2)
		r.is("prices", fleet.Blind)
		for range 10 {
			r.beacon(map[string]uint64{"prices": 2})
			r.is("prices", fleet.Fresh)
			pass(time.Second)
		}
		pass(2*time.Second - 1)
		r.is("prices", fleet.Fresh)
		pass(1)
		r.is("prices", fleet.Blind) // three periods of a second, which is the period of the beacon
		r.log = logOf("prices", 2)
		r.catchUps <- "reconnected"
		synctest.Wait()
		r.is("prices", fleet.Fresh)
		if n := len(r.queried); n != 0 {
			t.Errorf("the relays were asked %d times", n)
		}
	})
}

// A state that begins by time alone, such as blind, causes no requests.
func TestTimeAloneCausesNoRequests(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.start(config)
		pass(24 * time.Hour)
		r.is("prices", fleet.Blind)
		if reports := r.reports(); len(reports) != 1 || len(r.loaded()) != 1 {
			t.Errorf("in a day alone: %q, loaded %q", reports, r.loaded())
		}
	})
}

func TestBlindUntilTheFirstConfirmation(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"ads", "prices", "rules"}
		r.stored = map[string]uint64{"prices": 5}
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, errDown }
		r.relay = func(name string) (uint64, error) {
			if name == "ads" {
				return 0, errDown
			}
			return 2, nil
		}
		r.start(cfg)
		pass(time.Minute)
		r.serves("prices", 5)
		r.is("prices", fleet.Blind) // from its folder, without a confirmation that it is the newest
		r.is("ads", fleet.Blind)
		r.serves("rules", 2)
		why := r.changes
		r.beacon(map[string]uint64{"prices": 5})
		r.is("prices", fleet.Fresh)
		r.is("ads", fleet.Blind) // the beacon does not speak for it
		if len(why) == 0 || r.engine.Health("ads").CatchUpErr == nil {
			t.Errorf("health is %+v", r.engine.Health("ads"))
		}
	})
}

func TestDeniedBeaconsAreReported(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.start(config)
		r.beacons <- events.Beacons{Denied: errors.New("no permission")}
		pass(time.Minute)
		r.is("prices", fleet.Blind)
		if c := r.changes[len(r.changes)-1]; !strings.Contains(c.Why, "no permission") {
			t.Errorf("the change is %+v", c)
		}
		r.beacon(map[string]uint64{"prices": 1})
		if h := r.engine.Health("prices"); h.Denied != nil {
			t.Errorf("health is %+v", h)
		}
		r.is("prices", fleet.Fresh)
	})
}

func TestOverdue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.BeaconWithin = time.Hour
		r.start(cfg)
		committed := time.Now()
		version := func(v uint64) {
			rec := rec("prices", v)
			rec.Created, rec.ExpectEvery = time.Now().Round(0), time.Hour
			r.versions <- rec
			synctest.Wait()
		}
		version(1)
		r.beaconOf("p1", time.Hour, map[string]uint64{"prices": 1})
		r.is("prices", fleet.Fresh)
		pass(time.Hour - 1)
		r.is("prices", fleet.Fresh)
		pass(1)
		r.is("prices", fleet.Overdue)
		if since := r.engine.Health("prices").Since; !since.Equal(committed.Add(time.Hour)) {
			t.Errorf("overdue since %s", since)
		}
		version(2)
		r.is("prices", fleet.Fresh)
		if went := r.went("prices"); went != "blind>waiting>refreshing>fresh>overdue>refreshing>fresh" {
			t.Error(went)
		}
	})
}

// Invariant: jumps of the wall clock stop nothing, and affect only the overdue state.
func TestClockJumps(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var ahead atomic.Int64
		r.wall = func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }
		r.start(config)
		version := uint64(0)
		next := func() {
			version++
			rec := rec("prices", version)
			rec.Created, rec.ExpectEvery = time.Now().Round(0), time.Hour
			r.versions <- rec
			synctest.Wait()
			r.serves("prices", version)
		}
		next()
		for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, 200 * 365 * 24 * time.Hour, -100 * 365 * 24 * time.Hour, 0} {
			ahead.Store(int64(jump))
			want := fleet.Fresh
			if jump > time.Hour {
				want = fleet.Overdue
			}
			r.beacon(map[string]uint64{"prices": version})
			r.is("prices", want)
			next()
			r.is("prices", want)
			pass(3*time.Second - 1)
			r.is("prices", want)
			pass(1)
			r.is("prices", fleet.Blind)
		}
	})
}

// A loop that hangs cannot keep a dataset fresh.
func TestHungLoopIsBlind(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.onSwap = func(now *Served[string]) {
			if now.Record.Version == 2 {
				<-gate
			}
		}
		r.start(config)
		r.announce("prices", 1)
		r.is("prices", fleet.Fresh)
		r.announce("prices", 2)
		pass(time.Minute)
		if h, _, j := r.engine.Judge("prices"); j.State != fleet.Blind || h.State == fleet.Blind {
			t.Errorf("it is %s; reported, it is %s", j.State, h.State)
		}
		close(gate)
		synctest.Wait()
		r.is("prices", fleet.Blind)
	})
}

// BehindSince is the time of the first version above the served one, whatever came after.
func TestBehindSince(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.load = func(context.Context, dataset.VersionRecord, func()) error { <-gate; return nil }
		r.start(config)
		for v := range uint64(4) {
			r.announce("prices", v+1)
			pass(time.Second)
		}
		behind := func(want time.Duration) {
			t.Helper()
			if since := r.engine.Health("prices").BehindSince; since.Sub(r.began) != want {
				t.Errorf("behind since %s, want %s", since.Sub(r.began), want)
			}
		}
		behind(0)
		gate <- struct{}{}
		synctest.Wait()
		r.serves("prices", 1)
		behind(time.Second)
		close(gate)
		synctest.Wait()
		r.serves("prices", 4)
		if h := r.engine.Health("prices"); !h.BehindSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
	})
}
