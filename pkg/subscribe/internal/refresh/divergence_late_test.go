package refresh

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Relays that were queried before a version was committed and answer after it was swapped in do not make it diverged.
func TestRelaysAnswerLate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 5)
		i := identify(r, config, all[3], at(storeA, all[3]))
		i.name("p", storeA, all[3])
		i.serving(all[3])
		release := make(chan struct{})
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, nil }
		r.answers = func() ([]Answer, error) { <-release; return []Answer{at(storeA, all[3])}, nil }
		r.catchUps <- "reconnect"
		pass(time.Millisecond)
		i.versions <- all[4]
		pass(time.Millisecond)
		i.serving(all[4])
		close(release)
		synctest.Wait()
		i.serving(all[4])
		r.is("prices", fleet.Fresh)
		r.wantLoads("prices/4", "prices/5")
	})
}

// After the version of a far event was rejected, the instance is behind the version that a beacon named since that beacon.
func TestBehindSinceAfterARejection(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := history(storeA, "a", 1, 6)
		far := a[4]
		far.Version, far.Previous = 1_000_000, a[3].VersionID()
		fail := make(chan error)
		r.load = func(_ ctxT, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == far.Version {
				return <-fail
			}
			return nil
		}
		i := identify(r, config, a[4], at(storeA, a[4]))
		i.name("p1", storeA, a[4])
		i.versions <- far
		pass(time.Second)
		i.name("p1", storeA, a[5]) // neither the log nor the relay has it yet
		named := time.Now()
		pass(time.Second)
		fail <- errLoad
		synctest.Wait()
		if reports := r.reports(); !slices.Contains(reports, "rejected prices/1000000") {
			t.Fatalf("reports %q", reports)
		}
		r.is("prices", fleet.Lagging)
		if h := r.engine.Health("prices"); h.Newest != 6 || !h.BehindSince.Equal(named) {
			t.Errorf("health is %+v", h)
		}
		i.set(at(storeA, a[5]))
		i.name("p1", storeA, a[5])
		i.serving(a[5])
		if h := r.engine.Health("prices"); !h.BehindSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
	})
}

// The verification that a beacon caused is not lost with the catch-up that was to do it. No further beacon comes.
func TestVerificationSurvivesAFailedCatchUp(t *testing.T) {
	for name, relaysFail := range map[string]bool{"the log panics": false, "the log panics and no relay answers": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				all := history(storeA, "a", 1, 5)
				i := identify(r, config, all[4], at(storeA, all[4]))
				i.name("p1", storeA, all[4])
				i.serving(all[4])
				log, answers := r.log, r.answers
				r.log = func() (map[string]dataset.VersionRecord, error) {
					r.log = log
					panic("boom")
				}
				if relaysFail {
					r.answers = func() ([]Answer, error) {
						r.answers = answers
						return nil, errDown
					}
				}
				i.set(at(storeA, all[2])) // restored
				i.name("p1", storeA, all[2])
				pass(2 * time.Second)
				i.serving(all[2])
			})
		})
	}
}

// A catch-up for another reason takes over the query of one that is to verify, and its query fails. The retry verifies.
func TestVerificationSurvivesALaterCatchUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 5)
		var log atomic.Pointer[dataset.VersionRecord]
		log.Store(&all[4])
		i := identifyLog(r, config, log.Load, at(storeA, all[4]))
		i.name("p1", storeA, all[4])
		i.serving(all[4])
		var queries atomic.Int32
		gate := make(chan struct{})
		r.answers = func() ([]Answer, error) {
			switch queries.Add(1) {
			case 1:
				<-gate
				return []Answer{at(storeA, all[4])}, nil // from before the restore
			case 2:
				return nil, errDown
			}
			return []Answer{at(storeA, all[2])}, nil
		}
		i.name("p1", storeA, all[2]) // its query hangs
		i.name("p1", storeA, all[2]) // its query waits for that one
		log.Store(&all[3])
		r.catchUps <- "reconnected"
		synctest.Wait()
		log.Store(&all[4])
		close(gate)
		pass(2 * time.Second)
		i.serving(all[2])
	})
}

// A disowned version that the store has after all is served again: a beacon names it, and the relays are queried although the log has it.
func TestDisownedVersionComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 5)
		i := identify(r, config, all[4], at(storeA, all[4]))
		i.name("p1", storeA, all[4])
		i.serving(all[4])
		pass(10 * time.Second) // p1 is gone
		i.set(at(storeA, all[3]))
		i.name("p2", storeA, all[3])
		pass(time.Second)
		i.serving(all[3])
		i.set(at(storeA, all[4]))
		i.name("p2", storeA, all[4])
		pass(time.Second)
		i.serving(all[4])
		i.name("p2", storeA, all[4])
		r.is("prices", fleet.Fresh)
	})
}
