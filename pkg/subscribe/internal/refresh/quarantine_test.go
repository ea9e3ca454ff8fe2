package refresh

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

func (r *rig) bar(recs ...dataset.VersionRecord) {
	for _, rec := range recs {
		r.barred = append(r.barred, Barred{rec.Ref(), "version " + rec.Ref().String() + " is quarantined"})
	}
}

// quarantined fails the test unless the state is quarantined, because of the version.
func (r *rig) quarantined(bad dataset.VersionRecord) {
	r.t.Helper()
	r.is("prices", fleet.Quarantined)
	h, _, _ := r.engine.Judge("prices")
	if h.QuarantinedRef != bad.Ref() || !strings.Contains(h.Why(fleet.Quarantined, nil), bad.Ref().String()) || h.Newest != bad.Version ||
		h.BehindSince.IsZero() || h.Err != nil {
		r.t.Errorf("the health is %+v, want that %s is quarantined", h, bad.Ref())
	}
}

// A quarantined version is not loaded, is no failure, and does not block the next version.
func TestQuarantinedVersionIsNotLoaded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 4)
		r.storedRec = &all[0]
		r.bar(all[1])
		i := identify(r, config, all[1], at(storeA, all[1]))
		r.quarantined(all[1])
		i.serving(all[0])
		for range 3 {
			i.versions <- all[1]
			i.name("p", storeA, all[1])
			pass(time.Minute)
			i.name("p", storeA, all[1])
			r.quarantined(all[1])
		}
		if len(r.loaded()) != 0 || len(r.failed()) != 0 {
			t.Errorf("loaded %q, failed %v", r.loaded(), r.failed())
		}
		i.set(at(storeA, all[2]))
		i.versions <- all[2]
		synctest.Wait()
		i.serving(all[2])
		i.name("p", storeA, all[2])
		r.is("prices", fleet.Fresh)
		r.wantLoads("prices/3")
	})
}

// The state is quarantined from the start, even if everything is down and there is no version to serve.
func TestQuarantineIsKnownFromTheStart(t *testing.T) {
	for name, stored := range map[string]bool{"a version before": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				all := history(storeA, "a", 1, 5)
				if stored {
					r.storedRec = &all[0]
				}
				r.bar(all[1], all[2])
				r.log = func() (map[string]dataset.VersionRecord, error) { return nil, errors.New("down") }
				r.answers = func() ([]Answer, error) { return nil, errors.New("down") }
				r.start(config)
				r.quarantined(all[2])
				for _, c := range r.changes {
					if c.Now != fleet.Quarantined {
						t.Errorf("it reported %+v before", c)
					}
				}
				r.versions <- all[1] // an older event
				synctest.Wait()
				r.quarantined(all[1])
				r.versions <- all[4]
				synctest.Wait()
				r.serves("prices", 5)
				if h := r.engine.Health("prices"); h.Quarantined != "" {
					t.Errorf("the health is %+v", h)
				}
			})
		})
	}
}

// The store moved to another version of the quarantined version's number, known by an event or a beacon alone, or to the served version.
func TestStoreLeavesTheQuarantinedVersion(t *testing.T) {
	old, now := history(storeA, "old", 2, 2), history(storeA, "new", 2, 2)
	for name, c := range map[string]struct {
		move func(i *identified)
		want dataset.VersionRecord
	}{
		"an event": {func(i *identified) {
			i.set(at(storeA, now[1]))
			i.versions <- now[1]
		}, now[1]},
		"a beacon": {func(i *identified) {
			i.set(at(storeA, now[1]))
			i.name("p", storeA, now[1])
		}, now[1]},
		"restored": {func(i *identified) {
			i.set(at(storeA, old[0]))
			i.name("p", storeA, old[0])
		}, old[0]},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.storedRec = &old[0]
				r.bar(old[1])
				i := identify(r, config, old[1], at(storeA, old[1]))
				i.name("p", storeA, old[1])
				r.quarantined(old[1])
				c.move(i)
				pass(time.Second)
				i.serving(c.want)
				i.name("p", storeA, c.want)
				r.is("prices", fleet.Fresh)
			})
		})
	}
}

// A relay that is behind does not end a quarantine for long, and causes no load.
func TestRelayIsBehindTheQuarantinedVersion(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 3)
		r.storedRec = &all[0]
		r.bar(all[1])
		i := identify(r, config, all[1], at(storeA, all[0]))
		for range 5 {
			i.name("p", storeA, all[1])
			pass(time.Second)
		}
		i.set(at(storeA, all[1]))
		i.name("p", storeA, all[1])
		pass(time.Minute)
		i.name("p", storeA, all[1])
		r.quarantined(all[1])
		r.wantLoads()
	})
}

// A failure of the next version counts as one; the state is quarantined again when the version after it is the target.
func TestNextVersionFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "a", 1, 4)
		r.storedRec = &all[0]
		r.bar(all[1], all[3])
		r.load = func(ctxT, dataset.VersionRecord, func()) error { return errLoad }
		i := identify(r, config, all[1], at(storeA, all[1]))
		r.quarantined(all[1])
		i.set(at(storeA, all[2]))
		i.versions <- all[2]
		synctest.Wait()
		r.is("prices", fleet.Failing)
		tries := len(r.loaded())
		i.set(at(storeA, all[3]))
		i.versions <- all[3]
		pass(time.Hour)
		if got := len(r.loaded()); got != tries {
			t.Errorf("%d attempts after the target was quarantined: %q", got-tries, r.loaded()[tries:])
		}
		r.quarantined(all[3])
	})
}

func TestStatesAreOrdered(t *testing.T) {
	states := fleet.States[:]
	if i := slices.Index(states, fleet.Quarantined); i != slices.Index(states, fleet.Failing)+1 || states[i+1] != fleet.Diverged {
		t.Errorf("the states are %q", states)
	}
	h := Health{Quarantined: "q", Diverged: "d", QuarantinedSince: time.Now()}
	if j := h.Judge(nil, time.Now(), time.Now()); j.State != fleet.Quarantined {
		t.Errorf("quarantined and diverged is %s", j.State)
	}
	h.Err = errLoad
	if j := h.Judge(nil, time.Now(), time.Now()); j.State != fleet.Failing {
		t.Errorf("failing and quarantined is %s", j.State)
	}
}
