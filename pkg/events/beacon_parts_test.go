package events_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
)

// many returns a beacon of a store with n datasets, every unread-th of them unreadable; 0 means none.
func many(n, unread int) events.Beacon {
	b := events.Beacon{
		Publisher: strings.Repeat("p", 70), Sent: time.Now(), Every: time.Second, Store: dataset.StoreID{1},
		Newest: map[string]uint64{}, IDs: map[string]dataset.VersionID{},
	}
	for i := range n {
		name := fmt.Sprintf("dataset-%06d-%s", i, strings.Repeat("x", i%45))
		if unread > 0 && i%unread == 0 {
			b.Unread = append(b.Unread, name)
			continue
		}
		b.Newest[name], b.IDs[name] = uint64(i)+1, dataset.VersionID{byte(i), byte(i >> 8), 1}
	}
	slices.Sort(b.Unread)
	return b
}

// TestPartsOfABeacon decodes each message as a whole, like releases up to v0.2. Exactly one message covers each name.
func TestPartsOfABeacon(t *testing.T) {
	for name, tc := range map[string]struct {
		beacon      events.Beacon
		limit, most int // the limits of the server and of the messages
	}{
		"nothing":                      {many(0, 0), 1 << 20, 256 << 10},
		"few":                          {many(10, 3), 1 << 20, 256 << 10},
		"26,000 that were not read":    {many(26_000, 1), 1 << 20, 256 << 10},
		"3,000 and a limit of 128 KiB": {many(3000, 0), 128 << 10, 128 << 10},
		"a limit of 4 KiB":             {many(300, 2), 4 << 10, 4 << 10},
		"a limit of 64 MiB":            {many(10_000, 7), 64 << 20, 256 << 10},
		"no limit known":               {many(3000, 7), 0, 256 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := tc.beacon.Parts(tc.limit)
			if err != nil {
				t.Fatal(err)
			}
			names := slices.Concat(slices.Collect(maps.Keys(tc.beacon.Newest)), tc.beacon.Unread, []string{"a", "dataset-000007-", "z"})
			spoken := make(map[string]dataset.Ref)
			for i, data := range parts {
				var b events.Beacon
				if err := json.Unmarshal(data, &b); err != nil {
					t.Fatal(err)
				}
				if len(data) > tc.most || i < len(parts)-1 && len(data) < tc.most-1024 {
					t.Errorf("message %d of %d has %d bytes, the most is %d", i, len(parts), len(data), tc.most)
				}
				for _, name := range names {
					if ref, ok := b.Version(name); ok {
						if _, twice := spoken[name]; twice {
							t.Errorf("two messages cover %s", name)
						}
						spoken[name] = ref
					}
				}
			}
			for _, name := range names {
				want, wantOK := tc.beacon.Version(name)
				if got, ok := spoken[name]; ok != wantOK || got != want {
					t.Errorf("%s: the messages report %v, %v, want %v, %v", name, got, ok, want, wantOK)
				}
			}
		})
	}
	if _, err := many(10, 0).Parts(200); err == nil || !strings.Contains(err.Error(), "set its max_payload to 4KB or more") {
		t.Errorf("a limit of 200 bytes: %v", err)
	}
}

// Beacons arrive through servers with limits of 128 KiB and of 4 KiB for a message.
func TestBeaconsThroughASmallPayload(t *testing.T) {
	for _, limit := range []string{"128KB", "4KB"} {
		t.Run(limit, func(t *testing.T) {
			s := servertest.NATS(t, servertest.NATSConfig("max_payload: "+limit))
			ctx, nc := testContext(t), connect(t, s.URL)
			b := many(3000, 5)
			names := slices.Sorted(maps.Keys(b.Newest))
			l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, names[0], names[1200], names[len(names)-1], b.Unread[7], "zzz")
			expectCatchUp(t, ctx, l, "start")
			if err := events.SendBeacon(nc, "", b); err != nil {
				t.Fatal(err)
			}
			received := map[string]dataset.Ref{}
			for len(received) < 4 {
				for name, r := range receive(t, ctx, "a beacon", l.Beacons()).Reports {
					received[name] = dataset.Ref{Version: r[0].Version, ID: r[0].ID}
				}
			}
			for name, got := range received {
				if want, ok := b.Version(name); !ok || got != want {
					t.Errorf("%s: the listener received %v, want %v, %v", name, got, want, ok)
				}
			}
		})
	}
}
