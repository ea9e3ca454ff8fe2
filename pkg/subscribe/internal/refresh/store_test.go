package refresh

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// Invariant: while a relay that is up does not name its store, the instance keeps its store, whatever other relays read.
func TestSilentRelayKeepsTheStore(t *testing.T) {
	a, b := history(storeA, "a", 1, 5), history(storeB, "b", 1, 2)
	own, other, unnamed := Answer{"one", storeA, a[4]}, Answer{"two", storeB, b[1]}, Answer{"one", dataset.StoreID{}, a[4]}
	for name, one := range map[string]struct {
		answers []Answer
		silent  []string
	}{
		"it is slow":                {[]Answer{other}, []string{"one"}},
		"its store does not answer": {[]Answer{unnamed, other}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				var silent []string
				r.silent = func(string) []string { return silent }
				i := identify(r, config, a[4], own)
				i.name("p1", storeA, a[4])
				i.serving(a[4])
				ask := func(now []string, answers ...Answer) {
					silent = now
					i.set(answers...)
					pass(time.Minute)
					i.name("foreign", storeB, b[1]) // asks the relays
					pass(time.Second)
				}
				ask(one.silent, one.answers...)
				i.serving(a[4])
				if s := r.engine.Store(); s.ID != storeA || s.Changes != 0 || !strings.Contains(s.Warning, "relay one does not say which store it reads") {
					t.Errorf("%+v", s)
				}
				ask(nil, own, other)
				i.serving(a[4])
				if s := r.engine.Store(); s.ID != storeA || !strings.Contains(s.Warning, "disagree") {
					t.Errorf("%+v", s)
				}
				ask(one.silent, one.answers...)
				i.serving(a[4])
				ask(nil, other) // the silent one was stopped
				i.name("p2", storeB, b[1])
				i.serving(b[1])
				if s := r.engine.Store(); s.ID != storeB || s.Changes != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// All answers of a catch-up decide the store. A relay counts that is down during the first query and answers the next.
func TestStoreIsSettledByAllQueries(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		cfg := config
		cfg.Datasets = []string{"ads", "prices"}
		a, b := history(storeA, "a", 1, 5), history(storeB, "b", 1, 2)
		own, other := Answer{"one", storeA, a[4]}, Answer{"two", storeB, b[1]}
		var late bool
		gate := make(chan struct{})
		i := &identified{rig: r}
		i.set(own)
		ads := Answer{Relay: "one", Store: storeA}
		r.byName = func(name string) []Answer {
			if name == "ads" && late {
				<-gate
				return []Answer{ads, {Relay: "two", Store: storeB}}
			}
			return *i.relays.Load()
		}
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, nil }
		r.start(cfg)
		i.name("p1", storeA, a[4])
		i.serving(a[4])
		late = true
		i.set(other)
		catchUp := func() {
			r.catchUps <- "reconnected"
			pass(time.Second)
		}
		catchUp()
		i.serving(a[4])
		close(gate)
		synctest.Wait()
		i.serving(a[4])
		if s := r.engine.Store(); s.ID != storeA || s.Changes != 0 || !strings.Contains(s.Warning, "disagree") {
			t.Errorf("%+v", s)
		}
		// Now all read the other store, also for the dataset that was queried first.
		ads = Answer{Relay: "one", Store: storeB}
		gate = make(chan struct{})
		catchUp()
		i.serving(a[4])
		close(gate)
		synctest.Wait()
		if s := r.engine.Store(); s.ID != storeB || s.Changes != 1 {
			t.Errorf("%+v", s)
		}
		i.name("p1", storeB, b[1])
		i.serving(b[1])
	})
}
