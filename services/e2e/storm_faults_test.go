package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/subscribe"
)

// large is the number of records of an object of about 6 MiB, which is 24 segments.
const large = 6 << 10

// relayStatus returns the relay's status in sub.
func relayStatus(t *testing.T, sub *subscribe.Subscriber, url string) fleet.RelayStatus {
	t.Helper()
	for _, r := range sub.Status().Relays {
		if r.Relay == url {
			return r
		}
	}
	t.Fatalf("the status does not tell of relay %s", url)
	return fleet.RelayStatus{}
}

// Invariant: a store that is slow for longer than a refresh may stall makes a pull slow, and nothing fails.
func TestStormOriginIsSlow(t *testing.T) {
	bucket := servertest.S3(t)
	between := newProxy(t, bucket.Endpoint)
	slow := *bucket
	slow.Endpoint = between.URL
	s := newStorm(t, bucket.URL("freshet"))
	rec := s.publish("prices", 1, large)
	between.add("latency", map[string]any{"latency": 50})
	between.add("bandwidth", map[string]any{"rate": 1 << 10}) // KB/s: 6 s, and an instance stalls after 5 s
	relay := s.relay(slow.URL("freshet"))
	sub := s.instance([]string{"prices"}, relay.URL)
	checkServed(t, sub, rec)
	if r := relayStatus(t, sub, relay.URL); r.Failures != 0 {
		t.Errorf("the pull broke %d times: %s", r.Failures, r.Error)
	}
	within(t, "read from the store", originBytes(t, relay), rec.Snapshot.Bytes, 0)
}

// Invariant: a store that goes away half-way and comes back is waited for; neither the relay nor the instance begins anew.
func TestStormOriginFailsHalfWay(t *testing.T) {
	bucket := servertest.S3(t)
	between := newProxy(t, bucket.Endpoint)
	failing := *bucket
	failing.Endpoint = between.URL
	s := newStorm(t, bucket.URL("freshet"))
	rec := s.publish("prices", 2, 2*large)
	// It reads little ahead, so that it has not got all when the store goes.
	relay := s.relay(failing.URL("freshet"), "RELAY_ORIGIN_TIMEOUT=1s", "RELAY_READ_AHEAD=256KiB")
	line := newProxy(t, relay.URL)
	line.add("bandwidth", map[string]any{"rate": 4 << 10}) // 3 s for the object
	sub := s.instance([]string{"prices"}, line.URL)
	eventually(t, passed(line, rec.Snapshot.Bytes/8))
	between.Stop()
	eventually(t, func(context.Context) error {
		if counter(t, relay, "freshet_relay_segment_fill_failures_total") == 0 {
			return errors.New("the relay has not noticed yet")
		}
		return nil
	})
	if err := between.Start(); err != nil {
		t.Fatal(err)
	}
	checkServed(t, sub, rec)
	if relayStatus(t, sub, line.URL).Failures == 0 {
		t.Error("the pull never broke")
	}
	within(t, "read from the store", originBytes(t, relay), rec.Snapshot.Bytes, 1)
	within(t, "sent to the instance", line.sent.Load(), rec.Snapshot.Bytes, 1)
}

// passed returns a channel that is closed when the proxy has forwarded n bytes.
func passed(p *proxy, n int64) func(context.Context) error {
	return func(context.Context) error {
		if got := p.sent.Load(); got < n {
			return fmt.Errorf("%d of %d bytes have passed", got, n)
		}
		return nil
	}
}

// Invariant: a relay that is killed and started again in the middle of a pull is waited for, and the pull goes on.
func TestStormRelayIsKilledInMidPull(t *testing.T) {
	s := newStorm(t, "")
	rec := s.publish("prices", 3, large)
	relay := s.relay("")
	line := newProxy(t, relay.URL)
	line.add("bandwidth", map[string]any{"rate": 3 << 10})
	sub := s.instance([]string{"prices"}, line.URL)
	const kills = 2
	for i := range kills {
		eventually(t, passed(line, rec.Snapshot.Bytes*int64(i+1)/(kills+1)))
		relay.Kill()
		relay.Start()
	}
	checkServed(t, sub, rec)
	if r := relayStatus(t, sub, line.URL); r.Failures < kills {
		t.Errorf("the pull broke %d times, want %d at least", r.Failures, kills)
	}
	within(t, "sent to the instance", line.sent.Load(), rec.Snapshot.Bytes, kills)
}

// Invariant: answers that end too early are gone on from, each where it ended.
func TestStormTruncatedAnswers(t *testing.T) {
	s := newStorm(t, "")
	rec := s.publish("prices", 4, large)
	relay := s.relay("")
	line := newProxy(t, relay.URL)
	const piece = 1 << 20
	line.add("limit_data", map[string]any{"bytes": piece})
	sub := s.instance([]string{"prices"}, line.URL)
	checkServed(t, sub, rec)
	breaks := int(rec.Snapshot.Bytes / piece)
	if r := relayStatus(t, sub, line.URL); int(r.Failures) < breaks {
		t.Errorf("the pull broke %d times, want %d at least", r.Failures, breaks)
	}
	within(t, "sent to the instance", line.sent.Load(), rec.Snapshot.Bytes, breaks)
}

// Invariant: of a relay that flips bits nothing is served. With another relay each damaged block comes from there, and
// the relay is named; alone, it is tried again until it is right.
func TestStormFlippedBits(t *testing.T) {
	s := newStorm(t, "")
	first := s.publish("prices", 5, large)
	relay := s.relay("")
	bad, good := newProxy(t, relay.URL), newProxy(t, relay.URL)
	bad.flip.Store(2 << 20)

	alone := s.instance([]string{"prices"}, bad.URL)
	eventually(t, func(context.Context) error {
		status, _ := alone.Status().Dataset("prices")
		if r := relayStatus(t, alone, bad.URL); r.Refusals < 2 || r.Standing != fleet.Standing(relays.Distrusted) || status.Version != 0 {
			return fmt.Errorf("the instance says %+v of the relay and %+v of the dataset", r, status)
		}
		return nil
	})
	if servedTable(t, alone, "prices") != nil {
		t.Error("something is served")
	}
	bad.flip.Store(0)
	checkServed(t, alone, first)
	bad.flip.Store(2 << 20)

	// Which of the two relays is the first differs from object to object.
	both := s.instance([]string{"prices"}, bad.URL, good.URL)
	checkServed(t, both, first)
	for v := byte(6); relayStatus(t, both, bad.URL).Refusals == 0; v++ {
		bad.sent.Store(0)
		good.sent.Store(0)
		rec := s.publish("prices", v, large)
		checkServed(t, both, rec)
		if v == 30 {
			t.Fatal("the relay that flips bits was never asked first")
		}
		status, _ := both.Status().Dataset("prices")
		t.Logf("%s: %d bytes pulled", rec.ID(), status.LastPull.Bytes)
		within(t, "pulled", status.LastPull.Bytes, rec.Snapshot.Bytes, 1)
	}
	if r := relayStatus(t, both, good.URL); r.Refusals != 0 || r.Standing != fleet.Good {
		t.Errorf("the good relay is blamed: %+v", r)
	}
	if r := relayStatus(t, both, bad.URL); r.Standing != fleet.Distrusted || r.Refusals != 1 {
		t.Errorf("the instance says of the bad relay: %+v", r)
	}
}
