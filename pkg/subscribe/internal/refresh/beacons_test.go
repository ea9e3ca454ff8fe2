package refresh

import (
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

func TestBeaconHealsALostEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.start(config)
		r.log = logOf("prices", 3) // and no event came
		pass(time.Second)
		r.beacon(map[string]uint64{"prices": 3})
		r.serves("prices", 3)
		r.is("prices", fleet.Fresh)
		if h := r.engine.Health("prices"); h.Healed != 1 || h.Newest != 3 {
			t.Errorf("health is %+v", h)
		}
		for range 10 { // of which the same version is named again
			pass(time.Second)
			r.beacon(map[string]uint64{"prices": 3})
		}
		r.announce("prices", 3, 4)
		r.beacon(map[string]uint64{"prices": 4})
		want := []string{"start: caught up", "healed prices/3", "a beacon of p1 names version 3 of prices, of which no event came: caught up"}
		if reports := r.reports(); !slices.Equal(reports, want) || len(r.queried) != 0 {
			t.Errorf("the watcher received %q", reports)
		}
		if h := r.engine.Health("prices"); h.Healed != 1 {
			t.Errorf("%d versions healed", h.Healed)
		}
	})
}

// The publisher died before it announced the version, so only the relays have it.
func TestRelaysHealWhatTheLogDoesNotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.start(config)
		r.relay = func(string) (uint64, error) { return 2, nil }
		r.beacon(map[string]uint64{"prices": 2})
		r.serves("prices", 2)
		r.is("prices", fleet.Fresh)
	})
}

// A named version that no source has is requested with growing pauses until it is found. No other timer requests it.
func TestHealingIsRetriedUntilTheVersionIsFound(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var there atomic.Bool
		r.log = logOf("prices", 1)
		r.relay = func(string) (uint64, error) {
			if there.Load() {
				return 2, nil
			}
			return 1, nil
		}
		r.start(config)
		for range 600 {
			r.beacon(map[string]uint64{"prices": 2})
			r.is("prices", fleet.Lagging)
			pass(time.Second)
		}
		if n := len(r.reports()); n < 20 || n > 60 {
			t.Errorf("%d catch-ups in ten minutes", n)
		}
		if last := r.reports()[len(r.reports())-1]; !strings.Contains(last, "version 2 of prices, which a beacon names, is known neither to the event log nor to the relays, again in ") {
			t.Errorf("the watcher received %q", last)
		}
		h := r.engine.Health("prices")
		if h.BehindSince.Sub(r.began) != 0 || h.Newest != 2 || h.Announced != 1 || h.Healed != 0 {
			t.Errorf("health is %+v", h)
		}
		there.Store(true)
		pass(config.Retry.Max * 3 / 2)
		r.serves("prices", 2)
		n := len(r.reports())
		pass(time.Hour)
		if h := r.engine.Health("prices"); h.Healed != 1 || h.CatchUpErr != nil || len(r.reports()) != n {
			t.Errorf("health is %+v, reports %q", h, r.reports()[n:])
		}
	})
}

// A beacon that overtakes the event of its version heals nothing.
func TestBeaconThatOvertakesAnEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{}, 1)
		gate <- struct{}{}
		r.log = func() (map[string]dataset.VersionRecord, error) { <-gate; return logOf("prices", 1)() }
		r.start(config)
		r.beacon(map[string]uint64{"prices": 2})
		r.is("prices", fleet.Lagging)
		r.announce("prices", 2) // while the log is being read
		r.is("prices", fleet.Fresh)
		gate <- struct{}{}
		pass(time.Hour)
		if h := r.engine.Health("prices"); h.Healed != 0 || h.CatchUpErr != nil || len(r.reports()) != 2 {
			t.Errorf("health is %+v; reports %q", h, r.reports())
		}
		// Retries also end if the first catch-up did not find the version.
		r.beacon(map[string]uint64{"prices": 3})
		gate <- struct{}{}
		synctest.Wait()
		r.announce("prices", 3)
		reports := len(r.reports())
		pass(time.Hour)
		if h := r.engine.Health("prices"); h.Healed != 0 || h.CatchUpErr != nil || len(r.reports()) != reports {
			t.Errorf("health is %+v; reports %q", h, r.reports())
		}
	})
}

// A version that a catch-up for another reason finds does not count as healed by the beacon.
func TestReconnectIsNoHealing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{}, 10)
		gate <- struct{}{}
		newest := logOf("prices", 1)
		r.log = func() (map[string]dataset.VersionRecord, error) { <-gate; return newest() }
		r.start(config)
		newest = logOf("prices", 2)
		r.catchUps <- "reconnected"
		synctest.Wait()
		r.beacon(map[string]uint64{"prices": 2})
		gate <- struct{}{}
		synctest.Wait()
		r.serves("prices", 2)
		if h := r.engine.Health("prices"); h.Healed != 0 || !slices.Equal(r.reports(), []string{"start: caught up", "reconnected: caught up"}) {
			t.Errorf("health is %+v; reports %q", h, r.reports())
		}
	})
}

// A version that no publisher names any more and no source has is not requested for ever.
func TestRetriesEndForAVersionThatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.relay = func(string) (uint64, error) { return 1, nil }
		r.start(config)
		r.beacon(map[string]uint64{"prices": 9})
		r.is("prices", fleet.Lagging)
		for range 5 { // the store is restored from a copy
			pass(time.Second)
			r.beacon(map[string]uint64{"prices": 1})
		}
		r.is("prices", fleet.Fresh)
		if h := r.engine.Health("prices"); h.Newest != 1 || h.Regressed != "" || !h.BehindSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
	})
}

// Beacons that name less than was known before cause a warning, and do not confirm the newest version.
func TestStoreThatLostVersionsIsWarnedOf(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 9)
		r.start(config)
		r.beacon(map[string]uint64{"prices": 9})
		for i := range 5 {
			pass(time.Second)
			r.beacon(map[string]uint64{"prices": 4})
			if h := r.engine.Health("prices"); (h.Regressed != "") != (i+1 >= events.BlindAfter) {
				t.Errorf("after %d beacons: %q", i+1, h.Regressed)
			}
		}
		r.serves("prices", 9)
		r.is("prices", fleet.Blind)
		if h := r.engine.Health("prices"); !strings.Contains(h.Why(fleet.Blind, nil), "beacons of p1 name version 4 as the newest, below version 9") {
			t.Errorf("health is %+v", h)
		}
		pass(time.Second)
		r.beacon(map[string]uint64{"prices": 9})
		r.is("prices", fleet.Fresh)
		if h := r.engine.Health("prices"); h.Regressed != "" {
			t.Errorf("there is still a warning: %q", h.Regressed)
		}
		// A publisher of another store changes only the warning, as long as the right one sends beacons.
		for range 5 {
			pass(time.Second)
			r.beacon(map[string]uint64{"prices": 9})
			r.beaconOf("p2", time.Second, map[string]uint64{"prices": 0})
			r.is("prices", fleet.Fresh)
		}
		if h := r.engine.Health("prices"); !strings.Contains(h.Regressed, "beacons of p2 name version 0") {
			t.Errorf("the warning is %q", h.Regressed)
		}
	})
}

// Neither publishers that disagree nor one beacon of an older version make the instance forget a named version.
func TestNamedVersionIsNotForgottenTooSoon(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 1)
		r.relay = func(string) (uint64, error) { return 1, nil }
		r.start(config)
		for range 10 {
			r.beacon(map[string]uint64{"prices": 9})
			r.is("prices", fleet.Lagging)
			r.beaconOf("p2", time.Second, map[string]uint64{"prices": 1})
			r.is("prices", fleet.Lagging)
			pass(time.Second)
		}
		pass(time.Minute) // p1 is dead, and so was NATS
		r.beaconOf("p2", time.Second, map[string]uint64{"prices": 1})
		r.is("prices", fleet.Lagging)
		if h := r.engine.Health("prices"); h.Newest != 9 {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestForgottenVersionIsRequestedWhenItAppears(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		newest := logOf("prices", 1)
		r.log = func() (map[string]dataset.VersionRecord, error) { return newest() }
		r.relay = func(string) (uint64, error) { return 1, nil }
		r.start(config)
		r.beacon(map[string]uint64{"prices": 9})
		for range 5 { // the store is restored from a copy
			pass(time.Second)
			r.beacon(map[string]uint64{"prices": 1})
		}
		r.is("prices", fleet.Fresh)
		newest = logOf("prices", 2) // and no event came
		pass(time.Second)
		r.beacon(map[string]uint64{"prices": 2})
		r.serves("prices", 2)
		r.is("prices", fleet.Fresh)
	})
}

// The long period of another store's publisher does not delay the blind state of a dataset.
func TestPeriodIsThatOfTheRightPublisher(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.log = logOf("prices", 9)
		r.start(config)
		r.beaconOf("p2", time.Hour, map[string]uint64{"prices": 4}) // it may be the right one that lags by a moment
		for range 3 {
			r.beaconOf("p1", time.Second, map[string]uint64{"prices": 9})
			r.beaconOf("p2", time.Hour, map[string]uint64{"prices": 4})
			pass(time.Second)
		}
		r.is("prices", fleet.Fresh)
		pass(events.BlindAfter * time.Second) // p1 is dead
		r.is("prices", fleet.Blind)
	})
}
