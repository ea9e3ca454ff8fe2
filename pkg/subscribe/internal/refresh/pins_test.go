package refresh

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

// fakePins is the Pins of a rig, with the relays' answer and the local copy. The instance is "me", with the label tier=canary.
type fakePins struct {
	mu      sync.Mutex
	relays  func() (dataset.Pins, error)
	stored  *dataset.Pins
	readErr error
	failing error // of Store
	queries int
	stores  int
}

func (f *fakePins) Stored(string) (dataset.Pins, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.readErr != nil:
		return dataset.Pins{}, f.readErr
	case f.stored == nil:
		return dataset.Pins{}, ErrNone
	}
	return *f.stored, nil
}

func (f *fakePins) Store(_ string, pins dataset.Pins) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing != nil {
		return f.failing
	}
	f.stores++
	f.stored = &pins
	return nil
}

func (f *fakePins) Query(_ context.Context, name string, _ dataset.StoreID) (dataset.Pins, error) {
	f.mu.Lock()
	f.queries++
	relays := f.relays
	f.mu.Unlock()
	if relays == nil {
		return dataset.Pins{Dataset: name, StoreID: storeA}, nil
	}
	return relays()
}

func (f *fakePins) Of(pins dataset.Pins) (dataset.Pin, bool) {
	return pins.For("me", map[string]string{"tier": "canary"})
}

// set sets the relays' answer.
func (f *fakePins) set(pins dataset.Pins, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relays = func() (dataset.Pins, error) { return pins, err }
}

func (f *fakePins) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.queries
}

// pinning makes entries of the journal of "prices" in storeA.
type pinning struct {
	entries []dataset.Entry
	pins    []dataset.Pin
}

// to pins all instances to rec, or those with the labels.
func (p *pinning) to(t *testing.T, rec dataset.VersionRecord, labels map[string]string) dataset.Entry {
	t.Helper()
	pin := dataset.Pin{
		Version: rec.Version, ID: rec.VersionID(), Labels: labels, Entry: uint64(len(p.entries) + 1), At: time.Now(), By: "ann", Reason: "wrong prices",
	}
	p.pins = append(p.pins[:len(p.pins):len(p.pins)], pin)
	return p.add(t, dataset.EntryPin, dataset.PinChange{Pins: p.pins, Set: &pin})
}

// none removes all pins.
func (p *pinning) none(t *testing.T) dataset.Entry {
	t.Helper()
	p.pins = nil
	return p.add(t, dataset.EntryUnpin, dataset.PinChange{Pins: []dataset.Pin{}})
}

func (p *pinning) add(t *testing.T, kind string, c dataset.PinChange) dataset.Entry {
	t.Helper()
	content, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	e := dataset.Entry{
		StoreID: storeA, Dataset: "prices", Number: uint64(len(p.entries) + 1), Kind: kind, Time: time.Now(), Reason: "r", Content: content,
	}
	p.entries = append(p.entries, e)
	return e
}

// answer returns the relays' answer after the last entry.
func (p *pinning) answer(t *testing.T, versions ...dataset.VersionRecord) dataset.Pins {
	t.Helper()
	pins, err := dataset.PinsOf(p.entries[len(p.entries)-1])
	if err != nil {
		t.Fatal(err)
	}
	pins.Versions = versions
	return pins
}

var pinConfig = func() Config {
	cfg := config
	cfg.PinFor = time.Hour
	return cfg
}()

// pinned runs f with a rig whose relays have the versions of a history of storeA.
func pinned(t *testing.T, versions uint64, prepare func(r *rig, all []dataset.VersionRecord), f func(t *testing.T, r *identified, all []dataset.VersionRecord)) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "p", 1, versions)
		r.pins = &fakePins{}
		if prepare != nil {
			prepare(r, all)
		}
		last := all[len(all)-1]
		i := identify(r, pinConfig, last, at(storeA, last))
		pass(time.Second)
		f(t, i, all)
	})
}

func (r *rig) entry(e dataset.Entry) {
	r.entries <- e
	synctest.Wait()
}

func (r *rig) say(rec dataset.VersionRecord, journal uint64) {
	r.beacons <- events.Beacons{Reports: map[string][]events.Report{"prices": {{
		Version: rec.Version, ID: rec.VersionID(), Store: storeA, Journal: journal, At: time.Now(), Every: time.Second, Publisher: "p1",
	}}}}
	synctest.Wait()
}

// A pin holds the served version whatever is announced; without it the instance follows the newest version.
func TestPinHoldsTheServedVersion(t *testing.T) {
	pinned(t, 3, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		next := history(storeA, "p", 1, 5)
		r.serves("prices", 3)
		var p pinning
		e := p.to(t, all[2], nil)
		r.pins.set(p.answer(t, all[2]), nil)
		r.entry(e)
		r.is("prices", fleet.Pinned)
		r.versions <- next[3]
		r.versions <- next[4]
		r.say(next[4], 1)
		pass(time.Minute)
		r.serves("prices", 3)
		r.is("prices", fleet.Pinned)
		if h := r.engine.Health("prices"); h.Newest != 5 || !h.BehindSince.IsZero() || h.Pin == nil || h.Pin.Entry != 1 {
			t.Errorf("the health of a pinned dataset: newest %d, behind since %s, pin %+v", h.Newest, h.BehindSince, h.Pin)
		}
		e = p.none(t)
		r.pins.set(p.answer(t), nil)
		r.entry(e)
		r.serves("prices", 5)
		if h := r.engine.Health("prices"); h.Pin != nil || !h.BehindSince.IsZero() {
			t.Errorf("after the unpin: %+v", h)
		}
	})
}

// A pin to an older version takes the instance down to it. Of two pins the newer one holds, and an unpin of it makes the other one hold.
func TestPinGoesDownAndTheNewestHolds(t *testing.T) {
	pinned(t, 4, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		var p pinning
		e := p.to(t, all[1], nil)
		r.pins.set(p.answer(t, all[1]), nil)
		r.entry(e)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
		e = p.to(t, all[2], map[string]string{"tier": "canary"})
		r.pins.set(p.answer(t, all[1], all[2]), nil)
		r.entry(e)
		r.serves("prices", 3)
		e = p.to(t, all[0], map[string]string{"tier": "stable"}) // chooses other instances
		r.pins.set(p.answer(t, all[0], all[1], all[2]), nil)
		r.entry(e)
		r.serves("prices", 3)
		p.pins = p.pins[:1]
		e = p.add(t, dataset.EntryUnpin, dataset.PinChange{Pins: p.pins})
		r.pins.set(p.answer(t, all[1]), nil)
		r.entry(e)
		r.serves("prices", 2)
		r.wantLoads("prices/4", "prices/2", "prices/3", "prices/2")
	})
}

// While the record of the pinned version is not known, because the relays do not answer, the instance stays where it is.
func TestPinWithoutItsRecordHolds(t *testing.T) {
	pinned(t, 4, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		next := history(storeA, "p", 1, 5)
		var p pinning
		e := p.to(t, all[1], nil)
		r.pins.set(dataset.Pins{}, errDown)
		r.entry(e)
		r.versions <- next[4]
		pass(10 * time.Second)
		r.serves("prices", 4)
		r.is("prices", fleet.Lagging)
		if h := r.engine.Health("prices"); !strings.Contains(h.Why(fleet.Lagging, nil), "its record has not been found yet: down") {
			t.Errorf("it is lagging because %s", h.Why(fleet.Lagging, nil))
		}
		r.pins.set(p.answer(t, all[1]), nil)
		pass(time.Minute)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
	})
}

// A pin that could not be loaded is retried with backoff, and newer announcements do not shorten it.
func TestPinThatFailsIsRetried(t *testing.T) {
	var works atomic.Bool
	pinned(t, 4, func(r *rig, _ []dataset.VersionRecord) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if !works.Load() && rec.Version == 2 {
				return errLoad
			}
			return nil
		}
	}, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		var p pinning
		e := p.to(t, all[1], nil)
		r.pins.set(p.answer(t, all[1]), nil)
		r.entry(e)
		r.is("prices", fleet.Failing)
		next := history(storeA, "p", 1, 40)
		for _, rec := range next[4:] {
			r.versions <- rec
			pass(100 * time.Millisecond)
		}
		if n := len(r.failed()); n > 5 {
			t.Errorf("%d attempts in 3.6 s", n)
		}
		r.serves("prices", 4)
		works.Store(true)
		pass(time.Minute)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
	})
}
