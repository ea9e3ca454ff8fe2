package refresh

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// A store that was restored to before a pin releases the instance, although nothing announces that: its journal is shorter, or it has none.
// Without that, the instance would stay pinned, and unpin would find no pin to remove.
func TestRestoredStoreWithoutThePin(t *testing.T) {
	for name, journal := range map[string]uint64{"shorter journal": 3, "no journal": 0} {
		t.Run(name, func(t *testing.T) {
			pinned(t, 5, nil, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
				p := pinning{entries: make([]dataset.Entry, 6)}
				e := p.to(t, all[1], nil)
				answer := p.answer(t, all[1])
				answer.Journal = e.Number
				r.pins.set(answer, nil)
				r.entry(e)
				for range 3 {
					r.say(all[4], e.Number)
					pass(time.Second)
				}
				r.serves("prices", 2)
				r.is("prices", fleet.Pinned)
				r.pins.set(dataset.Pins{StoreID: storeA, Dataset: "prices", Journal: journal}, nil)
				r.set(at(storeA, all[3]))
				for range 20 {
					r.say(all[3], journal)
					pass(time.Second)
				}
				if pin := r.engine.Health("prices").Pin; pin != nil {
					t.Fatalf("the store does not have the pin, which is %+v", pin)
				}
				r.serves("prices", 4)
				before := r.pins.asked()
				for range 100 {
					r.say(all[3], journal)
					pass(time.Second)
				}
				if n := r.pins.asked(); n != before {
					t.Errorf("the relays were queried %d times about pins after that", n-before)
				}
			})
		})
	}
}

// A failure that no attempt mends, of a version that was being loaded when the pin came or went, does not delay the version that is wanted then.
func TestPermanentFailureOfAnotherGoal(t *testing.T) {
	var gate chan struct{}
	pinned(t, 3, func(r *rig, _ []dataset.VersionRecord) {
		gate = make(chan struct{})
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 4 {
				<-gate
				return tooLarge{errors.New("too large")}
			}
			return nil
		}
	}, func(t *testing.T, r *identified, all []dataset.VersionRecord) {
		r.versions <- history(storeA, "p", 1, 4)[3]
		var p pinning
		e := p.to(t, all[1], nil)
		r.pins.set(p.answer(t, all[1]), nil)
		r.entry(e)
		close(gate)
		pass(time.Minute)
		r.serves("prices", 2)
		r.is("prices", fleet.Pinned)
	})
}

// Replays do not add to the goroutines that hang without a bound.
func TestReplaysOfALoaderThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.reload = func(context.Context, func()) error { <-gate; return nil }
		r.start(config)
		r.announce("prices", 1)
		for range maxAbandoned {
			got := r.replay(Replay{Full: true})
			pass(config.Stall + longestGrace)
			got.ends("did not end")
		}
		r.replay(Replay{Full: true}).ends("4 goroutines hang at versions of prices: restart the instance")
		r.replay(Replay{}).ends("")
		close(gate)
		synctest.Wait()
		r.replay(Replay{Full: true}).ends("")
	})
}

// A replay that ends before its turn does not make the loop forget when the failing target is due.
func TestReplayThatEndsBeforeItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		failing := true
		r.load = func(_ context.Context, rec dataset.VersionRecord, _ func()) error {
			if rec.Version == 3 && failing {
				failing = false
				return busy(6 * time.Second)
			}
			return nil
		}
		r.reload = func(context.Context, func()) error { return errDown }
		r.start(config)
		r.announce("prices", 1)
		got := r.replay(Replay{Full: true, Version: dataset.Ref{Version: 1}}) // fails, and waits
		r.announce("prices", 2, 3)
		r.serves("prices", 2)
		pass(3 * time.Second)
		got.ends("version 2 is served, and not version 1")
		r.serves("prices", 2)
		pass(4 * time.Second)
		r.serves("prices", 3)
	})
}
