package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: a refresh that hangs in code which looks at nothing is given up and said to have failed; the version after it is served
// meanwhile, and when the refresh comes back at last, what it brings is not.
func TestFaultRefreshHangs(t *testing.T) {
	tr := newTrial(t, "refresh hangs", setting{failing: true, instance: func(int) []string { return []string{"STALL_TIMEOUT=1s"} }})
	v := tr.newest()
	hit := tr.instances[0]
	tr.begin()
	hit.points.arm(t, "refreshLoad", "1*sleep(6000)")
	tr.publish()
	hit.points.stands(t, "refreshLoad")
	hit.points.disarm(t, "refreshLoad") // who stands there goes on standing
	tr.await("it hangs", saying(fleet.Refreshing, v), hit)
	tr.await("it is given up", func(d fleet.DatasetStatus) error {
		if d.LastError == "" {
			return errors.New("no refresh has failed yet")
		}
		return nil
	}, hit)
	tr.publish()
	tr.await("the next goes through", fresh(tr.newest()))
	tr.end()
	tr.healed() // among others: waits until the goroutine that hung is gone
}

// Invariant: a panic in the goroutine that owns all of a refresh costs a moment: it is started again, and goes on where it was.
func TestFaultLoopPanics(t *testing.T) {
	const panics = 3
	tr := newTrial(t, "supervised goroutine panics", setting{failing: true})
	hit := tr.instances[0]
	tr.begin()
	began := time.Now()
	hit.points.arm(t, "refreshLoop", fmt.Sprintf("%d*panic(\"the loop\")", panics))
	tr.publish()
	tr.await("it panics, and is started again", serving(tr.newest()))
	hit.points.disarm(t, "refreshLoop")
	tr.end()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Overdue, fleet.Waiting)
	if n := counter(t, hit.program, "freshet_loop_restarts_total"); n != panics {
		t.Errorf("the goroutine was started again %d times, want %d", n, panics)
	}
}

// Invariant: what breaks and heals leaves nothing behind, however often: ten times as much as once.
func TestFaultsComeAgainAndAgain(t *testing.T) {
	const rounds = 10
	tr := newTrial(t, fmt.Sprintf("NATS, Redis and relay killed, %d times", rounds), setting{})
	tr.begin()
	for range rounds {
		tr.NATS.Kill()
		tr.Redis.Kill()
		tr.Relay.Kill()
		tr.NATS.Start()
		tr.Redis.Start()
		tr.Relay.Start()
		tr.publish()
		tr.await("all is back", fresh(tr.newest()))
	}
	tr.end()
	tr.healed()
}
