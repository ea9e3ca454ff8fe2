package refresh

import (
	"errors"
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

var storeA, storeB = dataset.StoreID{0xa}, dataset.StoreID{0xb}

// history returns the records of the first versions of "prices" in a store. Histories with different names differ at version from and
// after it, and are equal before.
func history(store dataset.StoreID, name string, from, versions uint64) []dataset.VersionRecord {
	var all []dataset.VersionRecord
	var previous dataset.VersionID
	for v := uint64(1); v <= versions; v++ {
		r := dataset.VersionRecord{StoreID: store, Previous: previous, Dataset: "prices", Version: v, Source: "p"}
		if v >= from {
			r.Source = name
		}
		previous = r.VersionID()
		all = append(all, r)
	}
	return all
}

// identified is a rig whose log, relays and publisher name stores and ids.
type identified struct {
	*rig
	relays atomic.Pointer[[]Answer]
}

// set sets the answers of the relays.
func (i *identified) set(answers ...Answer) { i.relays.Store(&answers) }

func identify(r *rig, cfg Config, log dataset.VersionRecord, relays ...Answer) *identified {
	return identifyLog(r, cfg, func() *dataset.VersionRecord { return &log }, relays...)
}

func identifyLog(r *rig, cfg Config, log func() *dataset.VersionRecord, relays ...Answer) *identified {
	i := &identified{rig: r}
	i.set(relays...)
	r.answers = func() ([]Answer, error) { return *i.relays.Load(), nil }
	r.log = func() (map[string]dataset.VersionRecord, error) {
		return map[string]dataset.VersionRecord{"prices": *log()}, nil
	}
	r.start(cfg)
	return i
}

func at(store dataset.StoreID, rec dataset.VersionRecord) Answer {
	return Answer{Relay: "r", Store: store, Record: rec}
}

func (i *identified) name(publisher string, store dataset.StoreID, rec dataset.VersionRecord) {
	w := events.Report{Version: rec.Version, Store: store, At: time.Now(), Every: time.Second, Publisher: publisher}
	if rec.Version > 0 {
		w.ID = rec.VersionID()
	}
	i.beacons <- events.Beacons{Reports: map[string][]events.Report{"prices": {w}}}
	synctest.Wait()
}

func (i *identified) serving(want dataset.VersionRecord) {
	i.t.Helper()
	if s := i.engine.Served("prices"); s == nil || s.Record.Ref() != want.Ref() {
		var served dataset.Ref
		if s != nil {
			served = s.Record.Ref()
		}
		i.t.Fatalf("after %s version %s is served, want %s; reports %q", time.Since(i.began), served, want.Ref(), i.reports())
	}
}

// The store was restored from a copy: the instance goes down to its newest version, and from there to newer ones.
func TestRestoredStore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, now := history(storeA, "old", 4, 5), history(storeA, "new", 4, 6)
		i := identify(r, config, old[4], at(storeA, old[4]))
		i.name("p1", storeA, old[4])
		i.serving(old[4])
		r.is("prices", fleet.Fresh)

		// A relay that is behind changes nothing, nor does a beacon alone.
		i.set(at(storeA, old[2]))
		i.name("p1", storeA, old[4])
		r.is("prices", fleet.Fresh)
		i.set(at(storeA, old[4]))
		i.name("p1", storeA, old[2])
		i.serving(old[4])
		r.is("prices", fleet.Fresh) // the relay's store, which was read after the beacon's, has it
		i.name("p1", storeA, old[4])

		i.set(at(storeA, old[2]))
		i.name("p2", storeA, old[2])
		i.serving(old[4]) // p1 names what is served
		pass(10 * time.Second)
		i.name("p2", storeA, old[2])
		i.serving(old[2])
		r.is("prices", fleet.Fresh)
		for _, rec := range old[3:] {
			i.versions <- rec // late, or repeated
		}
		synctest.Wait()
		i.serving(old[2])

		for _, rec := range now[3:5] {
			i.versions <- rec
			synctest.Wait()
			i.serving(rec)
		}
		i.name("p2", storeA, now[4])
		r.is("prices", fleet.Fresh)
		if went := r.went("prices"); !strings.Contains(went, "diverged") {
			t.Error(went)
		}
	})
}

// The same number with another id is another version.
func TestSameNumberOtherID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, now := history(storeA, "old", 4, 5), history(storeA, "new", 4, 6)
		var broken atomic.Bool
		r.load = func(_ ctxT, _ dataset.VersionRecord, _ func()) error {
			if broken.Load() {
				return errLoad
			}
			return nil
		}
		i := identify(r, config, old[4], at(storeA, old[4]))
		i.name("p1", storeA, old[4])
		pass(time.Hour) // the publisher was down
		i.set(at(storeA, now[4]))
		broken.Store(true)
		i.name("p1", storeA, now[4])
		r.is("prices", fleet.Failing)
		if h := r.engine.Health("prices"); h.Diverged == "" || h.BehindSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
		broken.Store(false)
		pass(time.Minute)
		i.serving(now[4])
		if h := r.engine.Health("prices"); h.Diverged != "" {
			t.Errorf("health is %+v", h)
		}
		// Without an event of the present history, the next version is not built on the wrong one.
		i.versions <- now[5]
		synctest.Wait()
		i.serving(now[5])
	})
}

// The instance follows a store that was created again once all relays that answer read it.
func TestRecreatedStore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := history(storeA, "a", 1, 5), history(storeB, "b", 1, 2)
		i := identify(r, config, a[4], at(storeA, a[4]), at(storeA, a[4]))
		i.name("p1", storeA, a[4])
		// Another store's publisher, and its events.
		for range 5 {
			i.name("other", storeB, b[0])
			i.versions <- b[1]
			synctest.Wait()
		}
		i.serving(a[4])
		r.is("prices", fleet.Fresh)
		if s := r.engine.Store(); s.ID != storeA || s.IgnoredMessages != 10 || !strings.Contains(s.Warning, storeB.String()) {
			t.Errorf("%+v", s)
		}
		// One relay of two reads it.
		i.set(at(storeA, a[4]), at(storeB, b[0]))
		for range 5 {
			pass(time.Minute)
			i.name("other", storeB, b[0])
			i.serving(a[4])
			if s := r.engine.Store(); s.ID != storeA || !strings.Contains(s.Warning, "disagree") {
				t.Errorf("%+v", s)
			}
		}
		// Each warning is reported once, although they alternate in the status.
		for _, what := range []string{"are ignored", "relays disagree"} {
			if n := len(slices.DeleteFunc(r.reports(), func(s string) bool { return !strings.Contains(s, what) })); n != 1 {
				t.Errorf("%q was reported %d times: %q", what, n, r.reports())
			}
		}
		i.set(at(storeB, b[0]), at(storeB, b[0]))
		pass(time.Minute)
		i.name("p1", storeB, b[0]) // asks the relays
		i.name("p1", storeB, b[0])
		i.serving(b[0])
		r.is("prices", fleet.Fresh)
		if s := r.engine.Store(); s.ID != storeB || s.Changes != 1 || !strings.Contains(s.Warning, "events in the log of store "+storeA.String()) {
			t.Errorf("%+v", s)
		}
		i.versions <- b[1]
		synctest.Wait()
		i.serving(b[1])
	})
}

// A store that was created again has no version yet. The served version stays, and is stale.
func TestRecreatedStoreIsEmpty(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := history(storeA, "a", 1, 5), history(storeB, "b", 1, 1)
		i := identify(r, config, a[4], at(storeA, a[4]))
		i.name("p1", storeA, a[4])
		i.set(Answer{Relay: "r", Store: storeB})
		i.name("p1", storeB, dataset.VersionRecord{})
		i.name("p1", storeB, dataset.VersionRecord{})
		i.serving(a[4])
		r.is("prices", fleet.Diverged)
		i.set(at(storeB, b[0]))
		i.name("p1", storeB, b[0])
		i.serving(b[0])
		r.is("prices", fleet.Fresh)
	})
}

// One event that names a version that does not exist costs one failed attempt.
func TestFarEvent(t *testing.T) {
	for _, store := range []dataset.StoreID{storeA, {}} { // of this release, and of an earlier one
		testFarEvent(t, store)
	}
}

func testFarEvent(t *testing.T, store dataset.StoreID) {
	t.Helper()
	bubble(t, func(t *testing.T, r *rig) {
		a := history(storeA, "a", 1, 6)
		far := a[4]
		far.StoreID, far.Version, far.Previous = store, 1_000_000, a[3].VersionID()
		r.load = func(_ ctxT, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == far.Version {
				return errors.New("not found at any relay")
			}
			return nil
		}
		i := identify(r, config, a[4], at(storeA, a[4]))
		i.name("p1", storeA, a[4])
		for range 3 {
			i.versions <- far
			synctest.Wait()
		}
		i.serving(a[4])
		r.is("prices", fleet.Fresh)
		if reports := r.reports(); len(r.failed()) != 1 || !slices.Contains(reports, "rejected prices/1000000") {
			t.Errorf("%d attempts failed, reports %q", len(r.failed()), reports)
		}
		i.set(at(storeA, a[5]))
		i.versions <- a[5]
		synctest.Wait()
		i.serving(a[5])
		i.name("p1", storeA, a[5])
		r.is("prices", fleet.Fresh)
	})
}

// A copy of the store is in use: nothing moves, and both publishers are named.
func TestCopyOfTheStoreInUse(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, copied := history(storeA, "a", 4, 5), history(storeA, "copy", 4, 5)
		i := identify(r, config, a[4], at(storeA, a[4]))
		for range 10 {
			i.name("p1", storeA, a[4])
			i.name("p2", storeA, copied[4])
			i.set(at(storeA, copied[4]))
			pass(time.Second)
			i.serving(a[4])
		}
		h := r.engine.Health("prices")
		if !strings.Contains(h.Conflict, "p1 and p2") {
			t.Errorf("health is %+v", h)
		}
		r.is("prices", fleet.Blind)
		pass(time.Minute) // p1 is stopped
		i.name("p2", storeA, copied[4])
		i.serving(copied[4])
		r.is("prices", fleet.Fresh)
		if h := r.engine.Health("prices"); h.Conflict != "" {
			t.Errorf("health is %+v", h)
		}
	})
}

// A version in the log that the store lacks is not loaded at the start.
func TestStartAfterARestore(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := history(storeA, "old", 4, 5)
		i := identify(r, config, old[4], at(storeA, old[2]))
		i.serving(old[2])
		r.wantLoads("prices/3")
		i.name("p1", storeA, old[2])
		r.is("prices", fleet.Fresh)
	})
}

// A beacon of a very long period does not keep a dataset fresh for as long.
func TestLongBeaconPeriodsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.BeaconWithin = 3 * time.Second
		r.log = logOf("prices", 1)
		r.start(cfg)
		r.beaconOf("p1", time.Hour, map[string]uint64{"prices": 1})
		if h := r.engine.Health("prices"); !strings.Contains(h.LongPeriod, "beacons of p1 come every 1h0m0s") {
			t.Errorf("health is %+v", h)
		}
		pass(12*time.Second - 1)
		r.is("prices", fleet.Fresh)
		pass(1)
		r.is("prices", fleet.Blind)
		r.beaconOf("p1", time.Second, map[string]uint64{"prices": 1})
		if h := r.engine.Health("prices"); h.LongPeriod != "" || h.Period != time.Second {
			t.Errorf("health is %+v", h)
		}
	})
}

// The instance does not load the version of an event that the store has under another id, neither at the start nor later.
func TestEventOfAnotherVersionOfTheNumber(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, now := history(storeA, "old", 4, 5), history(storeA, "new", 4, 6)
		i := identify(r, config, old[4], at(storeA, now[4]))
		i.serving(now[4])
		r.wantLoads("prices/5")
		i.name("p1", storeA, now[4])
		r.is("prices", fleet.Fresh)
	})
}

// An instance that began with versions of an earlier release, which name no store, learns its store from the first beacon.
func TestStoreIsLearnedFromABeacon(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := rec("prices", 1)
		i := identify(r, config, old, at(storeA, old))
		i.name("p1", storeA, old)
		if s := r.engine.Store(); s.ID != storeA {
			t.Errorf("%+v", s)
		}
		r.is("prices", fleet.Fresh)
	})
}

// Messages that name ever new stores cause a bounded number of queries of the relays.
func TestManyOtherStoresCauseNoPolling(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := history(storeA, "a", 1, 5)
		i := identify(r, config, a[4], at(storeA, a[4]))
		i.name("p1", storeA, a[4])
		for range 3 { // each store again
			for n := range 1000 {
				i.name("other", dataset.StoreID{0xf, byte(n), byte(n >> 8)}, a[0])
			}
		}
		r.mu.Lock()
		asked := len(r.queried)
		r.mu.Unlock()
		if asked > maxOtherStores+1 {
			t.Errorf("the relays were queried %d times", asked)
		}
		i.serving(a[4])
		r.is("prices", fleet.Fresh)
	})
}
