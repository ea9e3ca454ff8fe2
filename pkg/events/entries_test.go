package events_test

import (
	"encoding/json"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
)

func entryOf(name string, number uint64) dataset.Entry {
	return dataset.Entry{
		StoreID: dataset.StoreID{1}, Dataset: name, Number: number, Kind: dataset.EntryPin, Time: time.Now().UTC(), Reason: "r", Content: json.RawMessage(`{"pins":[]}`),
	}
}

// A listener gets the newest entry of each of its datasets, and an entry before the versions that were announced after it.
func TestListenerGivesEntriesInOrder(t *testing.T) {
	ctx, s, nc, log := start(t)
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{Entries: true}, "cities", "prices")
	expectCatchUp(t, ctx, l, "start")
	for i := uint64(1); i <= 20; i++ {
		for _, name := range []string{"prices", "rules"} { // the second is not a dataset of the listener
			if err := events.SendEntry(ctx, nc, "", entryOf(name, i)); err != nil {
				t.Fatal(err)
			}
		}
		announce(t, ctx, log, "prices", i)
		var entry dataset.Entry
		select {
		case entry = <-l.Entries():
		case rec := <-l.Versions():
			t.Fatalf("version %s came before the entry", rec.ID())
		case <-ctx.Done():
			t.Fatal("no entry")
		}
		if entry.ID() != entryOf("prices", i).ID() {
			t.Fatalf("the entry is %s", entry.ID())
		}
		if rec := receive(t, ctx, "the version", l.Versions()); rec.Version != i {
			t.Fatalf("the version is %d", rec.Version)
		}
	}
	if err := nc.Publish("freshet.v1.journal.prices", []byte("{")); err != nil {
		t.Fatal(err)
	}
	expectCatchUp(t, ctx, l, "a journal entry on freshet.v1.journal.prices is not readable")
}

// A listener without the permission to subscribe to journal entries requests a catch-up and goes on.
func TestListenerWithoutPermissionForEntries(t *testing.T) {
	s := servertest.NATS(t, servertest.NATSConfig(`authorization { users: [
		{ user: admin, password: secret }
		{ user: instance, password: secret, permissions: { subscribe: { deny: "freshet.v1.journal.>" } } }
	] }`), servertest.NATSLogin("admin", "secret"))
	ctx := testContext(t)
	l, _ := listen(t, ctx, connect(t, s.URL, nats.UserInfo("instance", "secret")), events.ListenerConfig{Entries: true}, "cities")
	expectCatchUp(t, ctx, l, "start")
	admin := connect(t, s.URL, nats.UserInfo("admin", "secret"))
	announce(t, ctx, newLog(t, admin, events.Config{}), "cities", 1)
	if got := receive(t, ctx, "a version", l.Versions()); got.Version != 1 {
		t.Errorf("received %s", got.ID())
	}
}

// Beacons name the newest journal entries.
func TestBeaconsNameJournals(t *testing.T) {
	ctx, s, nc, _ := start(t)
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, "cities", "prices")
	expectCatchUp(t, ctx, l, "start")
	b := events.Beacon{
		Publisher: "p", Sent: time.Now(), Every: time.Second, Store: dataset.StoreID{1}, Newest: map[string]uint64{"cities": 4},
		IDs: map[string]dataset.VersionID{"cities": {1}}, Journal: map[string]uint64{"cities": 3, "prices": 7, "rules": 9},
	}
	if err := events.SendBeacon(nc, "", b); err != nil {
		t.Fatal(err)
	}
	got := receive(t, ctx, "a beacon", l.Beacons())
	if c, p := got.Reports["cities"], got.Reports["prices"]; len(c) != 1 || c[0].Journal != 3 || c[0].Version != 4 || len(p) != 1 || p[0].Journal != 7 || p[0].Version != 0 {
		t.Errorf("the reports are %+v", got.Reports)
	}
}
