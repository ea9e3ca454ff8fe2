package e2e

import (
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: a clock that is wrong, at the publisher or at an instance, by an hour or by ten years, ahead or back, changes nothing about
// which version follows which, what is served, and how fresh it is said to be; no age is negative.
func TestFaultClocksJump(t *testing.T) {
	tr := newTrial(t, "clocks jump by an hour and by ten years, ahead and back", setting{failing: true})
	tr.begin()
	began := time.Now()
	const year = 365 * 24 * time.Hour
	jumped := tr.instances[0]
	for _, d := range []time.Duration{time.Hour, -time.Hour, 10 * year, -10 * year} {
		for who, points := range map[string]failpoints{"publisher": tr.points, "instance-1": jumped.points} {
			points.setClock(t, d)
			rec := tr.publish()
			if who == "publisher" && (time.Until(rec.Created)-d).Abs() > time.Minute {
				t.Errorf("the clock of the publisher is %v ahead, and it says that the version was made at %v: this test shows nothing", d, rec.Created)
			}
			tr.await(fmt.Sprintf("the clock of %s is %v ahead", who, d), fresh(tr.newest()))
			if who == "instance-1" && d > 0 {
				tr.await("it goes by its clock", func(s fleet.DatasetStatus) error {
					if s.AgeSeconds < d.Seconds()-60 {
						return fmt.Errorf("the age is %v s: the clock is not wrong, and this test shows nothing", s.AgeSeconds)
					}
					return nil
				}, jumped)
			}
			wait(t, beaconEvery)
			points.disarm(t, "clockAhead")
		}
		tr.publish()
		tr.await("the clocks are right again", fresh(tr.newest()))
	}
	tr.end()
	tr.publish()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Overdue, fleet.Waiting)
}

// Invariant: a clock decides one thing: whether what the pipeline promised is late. Then it is, by the clock of the instance, as long as
// that is ahead; and nothing else is different.
func TestFaultClockJumpsPastAPromise(t *testing.T) {
	tr := newTrial(t, "clock of one instance an hour ahead, promise of 30 min", setting{failing: true})
	tr.promise("30m")
	tr.await("the promise is kept", fresh(tr.newest()))
	jumped, other := tr.instances[0], tr.instances[1]
	tr.begin()
	began := time.Now()
	jumped.points.setClock(t, time.Hour)
	tr.await("an hour has passed for one", saying(fleet.Overdue, tr.newest()), jumped)
	tr.await("but not for the other", fresh(tr.newest()), other)
	jumped.points.setClock(t, -time.Hour)
	tr.await("the clock went back", fresh(tr.newest()))
	jumped.points.disarm(t, "clockAhead")
	tr.end()
	tr.publish()
	tr.healed()
	tr.never(began, fleet.Failing, fleet.Blind, fleet.Waiting)
	tr.neverSaid([]*subject{other}, began, fleet.Overdue)
}
