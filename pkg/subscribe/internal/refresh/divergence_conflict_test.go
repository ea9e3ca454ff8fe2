package refresh

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

// Several events name versions that are in no store, while the first of them is being loaded. They cost few attempts, and the version
// that a beacon confirms is served.
func TestFarEventsInABurst(t *testing.T) {
	for _, store := range []dataset.StoreID{storeA, {}} {
		bubble(t, func(t *testing.T, r *rig) {
			a := history(storeA, "a", 1, 6)
			release := make(chan struct{})
			r.load = func(_ ctxT, rec dataset.VersionRecord, _ func()) error {
				if rec.Version < 200 {
					return nil
				}
				<-release // the others come while this one is loaded
				return errors.New("not found at any relay")
			}
			i := identify(r, config, a[4], at(storeA, a[4]))
			i.name("p1", storeA, a[4])
			for n := range uint64(12) {
				far := a[4]
				far.StoreID, far.Version, far.Previous = store, 200+n, a[3].VersionID()
				i.versions <- far
				synctest.Wait()
			}
			close(release)
			for range 20 {
				pass(time.Second)
				i.name("p1", storeA, a[4])
			}
			i.serving(a[4])
			r.is("prices", fleet.Fresh)
			if n := len(r.failed()); n > 3 {
				t.Errorf("%d attempts failed because of events alone", n)
			}
			i.set(at(storeA, a[5]))
			i.versions <- a[5]
			synctest.Wait()
			i.serving(a[5])
		})
	}
}

// The log has a version with the number of the served one and another id. That proves nothing: neither that the served version is
// the newest, nor that the log's is.
func TestLogWithAnotherVersionOfTheNumber(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old, now := history(storeA, "old", 4, 5), history(storeA, "now", 4, 5)
		r.storedRec = &old[4]
		i := identify(r, config, now[4], at(storeA, now[4]))
		i.serving(old[4])
		r.is("prices", fleet.Blind)
		i.name("p1", storeA, now[4])
		i.serving(now[4])
		r.is("prices", fleet.Fresh)
	})
}

// The log still has the versions of a history that a restore ended, and no publisher runs. The newest version of the relays' store is served,
// also after a reconnect, when the log has yet another version.
func TestLogOfAnEndedHistoryConfirmsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := history(storeA, "old", 4, 7)
		var log atomic.Pointer[dataset.VersionRecord]
		log.Store(&old[4])
		i := identifyLog(r, config, log.Load, at(storeA, old[2]))
		for range 3 {
			r.catchUps <- "reconnected"
			pass(time.Second)
			i.serving(old[2])
			log.Store(&old[6])
		}
		r.wantLoads("prices/3")
	})
}

// Publishers on two copies of a store name different numbers, again and again. Both are named, and nothing moves.
func TestCopiesAtDifferentNumbers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, copied := history(storeA, "a", 3, 9), history(storeA, "copy", 3, 9)
		i := identify(r, config, a[3], at(storeA, a[3]))
		i.name("p1", storeA, a[3])
		r.is("prices", fleet.Fresh)
		for range 5 {
			i.name("p2", storeA, copied[5])
			pass(500 * time.Millisecond)
			i.name("p1", storeA, a[3])
			pass(500 * time.Millisecond)
		}
		i.serving(a[3])
		h := r.engine.Health("prices")
		if !strings.Contains(h.Conflict, "p1 and p2") || !strings.Contains(h.Conflict, "a copy of the store is in use") {
			t.Fatalf("health is %+v", h)
		}
		// Neither an event nor a relay of the other copy moves the instance now.
		i.versions <- copied[6]
		i.set(at(storeA, a[3]), at(storeA, copied[7]))
		for range 5 {
			i.name("p2", storeA, copied[7])
			i.name("p1", storeA, a[3])
			pass(time.Second)
		}
		i.serving(a[3])
		r.is("prices", fleet.Blind)
		i.set(at(storeA, a[3]))
		pass(time.Minute) // p2 is stopped
		for range 8 {
			i.name("p1", storeA, a[3])
			pass(time.Second)
		}
		r.is("prices", fleet.Fresh)
		i.serving(a[3])
	})
}

// A beacon of the copy's publisher causes a query of the relays. The beacons of both publishers contradict each other before a relay
// answers, so its answer confirms nothing although it names the served version.
func TestAnswerDuringAConflictConfirmsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, copied := history(storeA, "a", 4, 5), history(storeA, "copy", 4, 5)
		i := identify(r, config, a[4], at(storeA, a[4]))
		r.is("prices", fleet.Fresh)
		gate := make(chan struct{})
		r.answers = func() ([]Answer, error) { <-gate; return []Answer{at(storeA, a[4])}, nil }
		i.name("p2", storeA, copied[4])
		i.name("p1", storeA, a[4])
		if h := r.engine.Health("prices"); !strings.Contains(h.Conflict, "p1 and p2") {
			t.Fatalf("health is %+v", h)
		}
		close(gate)
		synctest.Wait()
		i.serving(a[4])
		r.is("prices", fleet.Blind)
	})
}

// One relay still reads the history that a restore ended, another one and the publisher the present one.
func TestRelayThatMissedTheRestore(t *testing.T) {
	for _, first := range []bool{true, false} {
		bubble(t, func(t *testing.T, r *rig) {
			old, now := history(storeA, "old", 3, 5), history(storeA, "now", 3, 5)
			i := identify(r, config, old[4], at(storeA, old[4]))
			i.name("p1", storeA, old[4])
			r.is("prices", fleet.Fresh)
			pass(time.Minute)
			answers := []Answer{at(storeA, old[4]), at(storeA, now[2])}
			if !first {
				answers[0], answers[1] = answers[1], answers[0]
			}
			i.set(answers...)
			for range 5 {
				i.name("p2", storeA, now[2])
				pass(time.Second)
			}
			i.serving(now[2])
		})
	}
}

// A publisher with a period of an hour delays nothing for hours.
func TestPublisherOfALongPeriod(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		old := history(storeA, "old", 4, 5)
		i := identify(r, config, old[4], at(storeA, old[4]))
		i.name("p1", storeA, old[4])
		word := events.Report{Publisher: "p0", Store: storeA, Version: 5, ID: old[4].VersionID(), At: time.Now(), Every: time.Hour}
		r.beacons <- events.Beacons{Reports: map[string][]events.Report{"prices": {word}}}
		synctest.Wait()
		i.set(at(storeA, old[2])) // restored
		begin := time.Now()
		for time.Since(begin) < 2*time.Minute {
			i.name("p1", storeA, old[2])
			pass(time.Second)
		}
		i.serving(old[2])
		r.is("prices", fleet.Fresh)
	})
}

// While relays read different stores, the answer of one of them confirms nothing.
func TestRelaysOfDifferentStores(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a, b := history(storeA, "a", 1, 3), history(storeB, "b", 1, 2)
		i := identify(r, config, a[2], at(storeA, a[2]))
		i.name("p1", storeA, a[2])
		r.is("prices", fleet.Fresh)
		i.set(at(storeA, a[2]), at(storeB, b[1]))
		for range 120 {
			i.name("p2", storeB, b[1])
			pass(time.Second)
		}
		i.serving(a[2])
		r.is("prices", fleet.Blind)
		if w := r.engine.Store().Warning; !strings.Contains(w, "relays disagree") {
			t.Errorf("the warning is %q", w)
		}
		i.set(at(storeB, b[1]))
		for range 30 {
			i.name("p2", storeB, b[1])
			pass(time.Second)
		}
		i.serving(b[1])
		r.is("prices", fleet.Fresh)
		if w := r.engine.Store().Warning; strings.Contains(w, "relays disagree") {
			t.Errorf("the warning is still %q", w)
		}
	})
}
