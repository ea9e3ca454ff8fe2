package e2e

import (
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
)

// Invariant: an instance that no packet from NATS reaches says, after three periods of the beacon, that it is blind, and never that it
// is fresh until one does; it serves what it has. The others go on. When packets come again it heals, though it never got an event
// of what was published meanwhile.
func TestFaultNATSIsPartitioned(t *testing.T) {
	var line *proxy
	lasts := 30 * time.Second
	if testing.Short() {
		lasts = 6 * time.Second
	}
	tr := newTrial(t, fmt.Sprintf("NATS partitioned from one instance for %v", lasts), setting{before: func(s *system) {
		line = newProxy(t, s.NATS.URL)
	}, instance: func(n int) []string {
		if n == 1 {
			return []string{"NATS_URL=nats://" + line.Listen}
		}
		return nil
	}})
	cut, other := tr.instances[0], tr.instances[1]
	v := tr.newest()
	tr.begin()
	began := time.Now()
	line.part()
	tr.await("nothing comes", saying(fleet.Blind, v), cut)
	for _, at := range []time.Duration{lasts / 3, lasts * 2 / 3, lasts} {
		wait(t, time.Until(began.Add(at)))
		tr.publish()
		tr.await("the other goes on", fresh(tr.newest()), other)
		tr.await("still nothing comes", saying(fleet.Blind, v), cut)
	}
	tr.neverSaid([]*subject{cut}, began.Add(blindAfter+late), fleet.Fresh, fleet.Lagging, fleet.Refreshing)
	tr.neverSaid([]*subject{other}, began, fleet.Blind, fleet.Failing)
	tr.end()
	line.heal()
	tr.healed()
}

// wait lets time pass during which a condition must hold.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
