package subscribe_test

import (
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// A replay since a version, merged with a rollback to it that a callback has not been called for, has no changes between the two versions. The
// callback gets all records, because it has those of the version in between.
func TestReplayAndRollbackOfACallbackThatIsBehind(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	gate, got := make(chan struct{}), make(chan subscribe.Swap, 100)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { got <- swap; <-gate }); err != nil {
		t.Fatal(err)
	}
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(numbered(1), true, 8))
	<-got
	gate <- struct{}{}
	w.announce(p.commit(numbered(2), false, 8))
	<-got
	w.announce(p.commit(numbered(1), false, 8))
	await(t, "the rollback", func() bool { return handle(s, "prices").Table().Version() == 3 })
	q := fleet.ReplayRequest{ID: "since", From: 1}
	wantState(t, w.replayWith(fleet.ReplayOptions{Request: q, Instances: w.surveyed(1), Wait: 2 * time.Second}), fleet.ReplayUnfinished, "have not returned")
	gate <- struct{}{}
	swap := <-got
	if !swap.Replayed || swap.Old != nil || swap.New.Version() != 3 || len(changed(swap)) != 20 || changed(swap)[0] != "+key0=1" {
		t.Errorf("the callback got %+v, %v", swap, changed(swap))
	}
	close(gate)
	wantState(t, w.replay(q), fleet.ReplayDone, "")
}
