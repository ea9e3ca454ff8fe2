package e2e

import (
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/subscribe"
)

// Invariant: instances that pull from relays that pull from a relay serve every version; the store is read once, and the
// relays in the middle together read what they hold once, whatever is killed between them.
func TestStormTwoTiers(t *testing.T) {
	for name, storeURL := range map[string]func(t *testing.T) string{
		"over a folder": func(*testing.T) string { return "" },
		"over S3":       func(t *testing.T) string { return servertest.S3(t).URL("freshet") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorm(t, storeURL(t))
			near := s.relay("")
			line := newProxy(t, near.URL)
			line.add("bandwidth", map[string]any{"rate": 4 << 10}) // KB/s: 2 s for the second object
			far := []*program{s.relay(line.URL), s.relay(line.URL)}
			var subs []*subscribe.Subscriber
			for range 3 {
				subs = append(subs, s.instance([]string{"prices"}, far[0].URL, far[1].URL))
			}
			serve := func(rec dataset.VersionRecord) {
				for _, sub := range subs {
					awaitServed(t, sub, rec)
				}
				checkServed(t, subs[0], rec)
			}
			first := s.publish("prices", 50, large/2)
			serve(first)
			if n := originBytes(t, near); n != first.Snapshot.Bytes {
				t.Errorf("the near relay read %d bytes from the store, want %d", n, first.Snapshot.Bytes)
			}
			if n := originBytes(t, far[0]) + originBytes(t, far[1]); n != first.Snapshot.Bytes {
				t.Errorf("the far relays read %d bytes, want %d", n, first.Snapshot.Bytes)
			}

			line.sent.Store(0)
			second := s.publish("prices", 51, large)
			eventually(t, passed(line, second.Snapshot.Bytes/3))
			near.Kill()
			near.Start()
			serve(second)
			// Of each read that broke a far relay keeps the segments that came.
			within(t, "sent to the far relays", line.sent.Load(), second.Snapshot.Bytes, 2)
			if n := originBytes(t, near); n > second.Snapshot.Bytes {
				t.Errorf("the near relay read %d bytes again after its restart, the object has %d", n, second.Snapshot.Bytes)
			}
		})
	}
}
