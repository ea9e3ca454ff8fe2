package subscribe_test

import (
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/events"
)

// The warning of a publisher's clock that is ahead names the publisher, the dataset, the offset and the remedy. It ends when the
// clock is right.
func TestPublisherWithAClockAhead(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	send := func(publisher string, ahead time.Duration) {
		t.Helper()
		err := events.SendBeacon(w.nc, "", events.Beacon{Publisher: publisher, Sent: time.Now().Add(ahead), Every: 20 * time.Second, Newest: map[string]uint64{"prices": 1}})
		if err != nil {
			t.Fatal(err)
		}
	}
	says := func() bool {
		warning := warningOf(t, s, "prices")
		return strings.Contains(warning, "the clock of publisher ahead-1 is 9m5") && strings.Contains(warning, "prices becomes overdue too late") &&
			strings.Contains(warning, "(NTP)")
	}
	await(t, "the warning", func() bool { send("ahead-1", 10*time.Minute-2*time.Second); return says() })
	confirmed := statusOf(t, s, "prices").Confirmed
	await(t, "a beacon of another publisher", func() bool { send("right-1", 0); return statusOf(t, s, "prices").Confirmed.After(confirmed) })
	if !says() {
		t.Errorf("after a beacon of another publisher the warning is %q", warningOf(t, s, "prices"))
	}
	await(t, "the warning to go", func() bool { send("ahead-1", 0); return warningOf(t, s, "prices") == "" })
}
