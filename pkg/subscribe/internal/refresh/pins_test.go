package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
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
	fail := true
	pinned(t, 4, func(r *rig, _ []dataset.VersionRecord) {
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if fail && rec.Version == 2 {
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
		fail = false
		pass(time.Minute)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
	})
}

// An entry whose message was lost is found because a beacon names its number. The instance asks once for each new number.
func TestPinWhoseMessageWasLost(t *testing.T) {
	pinned(t, 4, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		before := r.pins.asked()
		for range 10 {
			r.say(all[3], 0)
			pass(time.Second)
		}
		if n := r.pins.asked(); n != before {
			t.Fatalf("beacons without a journal cause %d queries", n-before)
		}
		var p pinning
		p.to(t, all[2], nil)
		r.pins.set(p.answer(t, all[2]), nil)
		for range 10 {
			r.say(all[3], 1)
			pass(time.Second)
		}
		r.serves("prices", 3)
		if n := r.pins.asked(); n != before+1 {
			t.Errorf("the relays were queried %d times about one entry", n-before)
		}
	})
}

// Relays of earlier releases do not know pins: beacons cause one query for each entry, and versions are followed as ever.
func TestPinsThatNoRelayKnows(t *testing.T) {
	pinned(t, 2, func(r *rig, _ []dataset.VersionRecord) { r.pins.set(dataset.Pins{}, ErrNoPins) },
		func(t *testing.T, r *identified, all []dataset.VersionRecord) {
			r.serves("prices", 2)
			before := r.pins.asked()
			for range 20 {
				r.say(all[1], 7)
				pass(time.Second)
			}
			if n := r.pins.asked(); n != before+1 {
				t.Errorf("%d queries", n-before)
			}
			var p pinning
			r.entry(p.to(t, all[1], nil)) // the message suffices for the version that is served
			r.versions <- history(storeA, "p", 1, 3)[2]
			pass(time.Second)
			r.serves("prices", 2)
			r.is("prices", fleet.Pinned)
		})
}

// An instance that starts does not pass its pinned version: it waits for the answer about pins, but not for long.
func TestPinAtTheStart(t *testing.T) {
	var p pinning
	pinned(t, 4, func(r *rig, all []dataset.VersionRecord) {
		p.to(t, all[1], nil)
		answer := p.answer(t, all[1])
		r.pins.relays = func() (dataset.Pins, error) {
			time.Sleep(time.Second / 2) // a slow relay
			return answer, nil
		}
	}, func(t *testing.T, r *identified, _ []dataset.VersionRecord) {
		r.serves("prices", 2)
		r.wantLoads("prices/2")
	})
	for name, answer := range map[string]func() (dataset.Pins, error){
		"down":    func() (dataset.Pins, error) { return dataset.Pins{}, errDown },
		"hanging": func() (dataset.Pins, error) { time.Sleep(time.Hour); return dataset.Pins{}, errDown },
	} {
		t.Run(name, func(t *testing.T) {
			pinned(t, 4, func(r *rig, _ []dataset.VersionRecord) { r.pins.relays = answer },
				func(t *testing.T, r *identified, _ []dataset.VersionRecord) {
					pass(pinsHeadStart)
					r.serves("prices", 4)
				})
		})
	}
}

// The local copy of the pins holds a restarted instance at its version, with no server up.
func TestPinAfterARestartWithoutServers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		all := history(storeA, "p", 1, 3)
		var p pinning
		p.to(t, all[1], nil)
		kept := p.answer(t, all[1])
		r.pins = &fakePins{stored: &kept}
		r.pins.set(dataset.Pins{}, errDown)
		r.storedRec = &all[1]
		r.log = func() (map[string]dataset.VersionRecord, error) { return nil, errDown }
		r.relay = func(string) (uint64, error) { return 0, errDown }
		r.start(pinConfig)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
		r.versions <- all[2] // NATS is back before the relays are
		pass(time.Minute)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
		h := r.engine.Health("prices")
		if w := strings.Join(h.PinWarning(fleet.Pinned, time.Now()), "; "); !strings.Contains(w, "that the pin was removed may not be known") {
			t.Errorf("the warning is %q", w)
		}
	})
}

// Pins are stored when they change, again after a failure, and over a copy that is unreadable.
func TestPinsAreStored(t *testing.T) {
	pinned(t, 2, func(r *rig, _ []dataset.VersionRecord) { r.pins.readErr = ErrPinsDamaged },
		func(t *testing.T, r *identified, all []dataset.VersionRecord) {
			if r.pins.stores != 1 {
				t.Errorf("an unreadable copy was replaced %d times", r.pins.stores)
			}
			var p pinning
			r.pins.failing = errors.New("no space")
			e := p.to(t, all[1], nil)
			r.pins.set(p.answer(t, all[1]), nil)
			r.entry(e)
			if h := r.engine.Health("prices"); h.PinStoreErr == nil {
				t.Error("the failure is not in the health")
			}
			r.pins.mu.Lock()
			r.pins.failing = nil
			r.pins.mu.Unlock()
			pass(time.Minute)
			if h := r.engine.Health("prices"); h.PinStoreErr != nil || r.pins.stored.Entry != 1 || len(r.pins.stored.Versions) != 1 {
				t.Errorf("the stored pins are %+v; %v", r.pins.stored, h.PinStoreErr)
			}
		})
}

// A pin that is older than its setting makes a dataset stale only if there is a newer version.
func TestPinThatIsTooOld(t *testing.T) {
	pinned(t, 3, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		var p pinning
		e := p.to(t, all[2], nil)
		r.pins.set(p.answer(t, all[2]), nil)
		r.entry(e)
		pass(2 * time.Hour)
		r.is("prices", fleet.Pinned)
		r.versions <- history(storeA, "p", 1, 4)[3]
		synctest.Wait()
		r.is("prices", fleet.Lagging)
		h := r.engine.Health("prices")
		if why := h.Why(fleet.Lagging, nil); !strings.Contains(why, "the pin is older than 1h0m0s") || !strings.Contains(why, "wrong prices") {
			t.Errorf("it is lagging because %s", why)
		}
		r.serves("prices", 3)
	})
}

// A restored store has another version with the pinned number, or none: the pin is not followed, and the health says so.
func TestPinOfAVersionThatTheStoreLacks(t *testing.T) {
	pinned(t, 3, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		for want, versions := range map[string][]dataset.VersionRecord{
			"version 2 of the store has the id":    {history(storeA, "restored", 2, 2)[1]},
			"the store does not have that version": nil,
		} {
			var p pinning
			p.entries = make([]dataset.Entry, 9)
			p.to(t, all[1], nil)
			r.pins.set(p.answer(t, versions...), nil)
			r.catchUps <- "test"
			pass(time.Second)
			r.serves("prices", 3)
			if h := r.engine.Health("prices"); !strings.Contains(h.PinRefused, want) || h.Pin != nil {
				t.Errorf("the pin %+v, refused because %q, want %q", h.Pin, h.PinRefused, want)
			}
			r.pins.set(dataset.Pins{StoreID: storeA, Dataset: "prices"}, nil)
			r.catchUps <- "test"
			pass(10 * time.Second)
		}
	})
}

// An older answer than the message is not followed at once: the relay may have read the store before the entry was written. If the relays
// keep giving it, their store does not have the entry.
func TestOlderAnswerThanTheMessage(t *testing.T) {
	pinned(t, 3, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		var p pinning
		r.entry(p.to(t, all[2], nil))
		pass(lowerPinsAfter / 2)
		if r.engine.Health("prices").Pin == nil {
			t.Error("one older answer removed the pin")
		}
		pass(10 * time.Second)
		if pin := r.engine.Health("prices").Pin; pin != nil {
			t.Errorf("the store does not have the entry, and the pin is %+v", pin)
		}
	})
}

// Pins of another store are ignored.
func TestPinOfAnotherStore(t *testing.T) {
	pinned(t, 3, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		var p pinning
		e := p.to(t, all[1], nil)
		e.StoreID = storeB
		r.entry(e)
		foreign := p.answer(t, all[1])
		foreign.StoreID = storeB
		r.pins.set(foreign, nil)
		r.catchUps <- "test"
		pass(time.Second)
		r.serves("prices", 3)
		if h := r.engine.Health("prices"); h.Pin != nil || !strings.Contains(h.PinRefused, "are of store") {
			t.Errorf("the pin is %+v, refused because %q", h.Pin, h.PinRefused)
		}
	})
}

// A version that is being loaded when a pin to another one comes is not served.
func TestPinDuringALoad(t *testing.T) {
	var gate chan struct{}
	pinned(t, 2, func(r *rig, _ []dataset.VersionRecord) {
		gate = make(chan struct{})
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 3 {
				<-gate
			}
			return nil
		}
	}, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		r.versions <- history(storeA, "p", 1, 3)[2]
		var p pinning
		e := p.to(t, all[1], nil)
		r.pins.set(p.answer(t, all[1]), nil)
		r.entry(e)
		close(gate)
		synctest.Wait()
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
		r.entry(p.none(t))
		r.serves("prices", 3)
	})
}
