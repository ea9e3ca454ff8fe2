package refresh

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

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
			r.pins.mu.Lock()
			r.pins.failing = errors.New("no space")
			r.pins.mu.Unlock()
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
