package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
)

// beacon returns a beacon of the versions.
func beacon(newest map[string]uint64) events.Beacon {
	return events.Beacon{Publisher: "p1", Sent: time.Now(), Every: time.Second, Newest: newest}
}

// report returns a listener's report of a version from beacon.
func report(version uint64) events.Report {
	return events.Report{Version: version, Every: time.Second, Publisher: "p1"}
}

func TestListenerReceivesBeacons(t *testing.T) {
	ctx, s, nc, log := start(t)
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, "cities", "prices", "rules")
	expectCatchUp(t, ctx, l, "start") // the subscription to beacons is active, too
	b := beacon(map[string]uint64{"cities": 4, "others": 7})
	b.Unread = []string{"rules"}
	before := time.Now()
	if err := events.SendBeacon(nc, "", b); err != nil {
		t.Fatal(err)
	}
	got := receive(t, ctx, "a beacon", l.Beacons())
	want := map[string][]events.Report{"cities": {report(4)}, "prices": {report(0)}}
	if diff := cmp.Diff(want, got.Reports, cmpopts.IgnoreFields(events.Report{}, "At", "Sent")); diff != "" || got.Denied != nil {
		t.Error(diff, got.Denied)
	}
	if at := got.Reports["cities"][0].At; at.Before(before) || at.After(time.Now()) {
		t.Errorf("the time of arrival is %s", at)
	}
	// Neither channel blocks the other.
	announce(t, ctx, log, "cities", 5)
	if err := events.SendBeacon(nc, "", b); err != nil {
		t.Fatal(err)
	}
	receive(t, ctx, "a version", l.Versions())
	receive(t, ctx, "a beacon", l.Beacons())
}

// The beacon of a store with very many datasets has several messages, which together cover all datasets.
func TestBeaconsOfManyParts(t *testing.T) {
	ctx, s, nc, _ := start(t)
	newest := map[string]uint64{}
	for i := range 9000 {
		newest[fmt.Sprintf("dataset-%04d", i)] = uint64(i) + 1
	}
	names := []string{"a", "dataset-0000", "dataset-4095", "dataset-4096", "dataset-8999", "z"}
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, names...)
	expectCatchUp(t, ctx, l, "start")
	if err := events.SendBeacon(nc, "", beacon(newest)); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for len(got) < len(names) {
		for name, reports := range receive(t, ctx, "a beacon", l.Beacons()).Reports {
			got[name] = reports[0].Version
		}
	}
	want := map[string]uint64{"a": 0, "dataset-0000": 1, "dataset-4095": 4096, "dataset-4096": 4097, "dataset-8999": 9000, "z": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Beacons that the caller has not received are merged.
func TestBeaconsCoalesce(t *testing.T) {
	_, _, nc, _ := start(t)
	l := must(events.NewListener(nc, []string{"cities", "prices"}, events.ListenerConfig{}))(t)
	late := beacon(map[string]uint64{"cities": 2})
	late.Publisher, late.Every, late.Unread = "p2", 2*time.Second, []string{"prices"}
	received := l.ReceiveBeacons(beacon(map[string]uint64{"cities": 3, "prices": 1}), late)
	want := map[string][]events.Report{"cities": {report(3), {Version: 2, Every: 2 * time.Second, Publisher: "p2"}}, "prices": {report(1)}}
	if diff := cmp.Diff(want, received.Reports, cmpopts.IgnoreFields(events.Report{}, "At", "Sent")); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableBeaconsAreLoggedOnce(t *testing.T) {
	ctx, s, nc, _ := start(t)
	lines := make(chan string, 10)
	log := slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{Log: log}, "cities")
	expectCatchUp(t, ctx, l, "start")
	for _, data := range []string{"", "[]", `{"every_ns":0}`, `{"every_ns":-5}`, `{"every_ns":1}`, `{"every_ns":9000000000000000000}`, `{"newest":{"cities":-1}}`} {
		if err := nc.Publish("freshet.v1.beacon", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := events.SendBeacon(nc, "", beacon(map[string]uint64{"cities": 1})); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, ctx, "a beacon", l.Beacons()); got.Reports["cities"][0].Version != 1 {
		t.Errorf("received %+v", got)
	}
	if n := l.UnreadableBeacons(); n != 7 {
		t.Errorf("%d beacons are counted as unreadable", n)
	}
	if line := <-lines; !strings.Contains(line, "a beacon is not readable") || len(lines) != 0 {
		t.Errorf("the log has %q and %d more lines", line, len(lines))
	}
}

type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// A listener without the permission to subscribe to beacons still receives events, and reports the denial.
func TestListenerWithoutPermissionForBeacons(t *testing.T) {
	s := servertest.NATS(t, servertest.NATSConfig(`authorization { users: [
		{ user: admin, password: secret }
		{ user: instance, password: secret, permissions: { subscribe: { deny: "freshet.v1.beacon" } } }
	] }`), servertest.NATSLogin("admin", "secret"))
	ctx := testContext(t)
	l, _ := listen(t, ctx, connect(t, s.URL, nats.UserInfo("instance", "secret")), events.ListenerConfig{}, "cities")
	got := receive(t, ctx, "the denial", l.Beacons())
	if !errors.Is(got.Denied, nats.ErrPermissionViolation) || !strings.Contains(got.Denied.Error(), "freshet.v1.beacon") || got.Reports != nil {
		t.Errorf("received %+v", got)
	}
	expectCatchUp(t, ctx, l, "start")
	admin := connect(t, s.URL, nats.UserInfo("admin", "secret"))
	announce(t, ctx, newLog(t, admin, events.Config{}), "cities", 1)
	if got := receive(t, ctx, "a version", l.Versions()); got.Version != 1 {
		t.Errorf("received %s", got.ID())
	}
}

func TestSendBeaconRefusesAPeriod(t *testing.T) {
	_, _, nc, _ := start(t)
	for _, every := range []time.Duration{0, -time.Second, events.MinBeaconEvery - 1, events.MaxBeaconEvery + 1} {
		if err := events.SendBeacon(nc, "", events.Beacon{Every: every}); !errors.Is(err, events.ErrBeacon) {
			t.Errorf("a period of %s: %v", every, err)
		}
	}
}

func TestSendBeaconWithoutAConnection(t *testing.T) {
	_, s, nc, _ := start(t)
	s.Stop()
	eventually(t, context.Background(), "disconnected", func() bool { return !nc.IsConnected() })
	if err := events.SendBeacon(nc, "", beacon(nil)); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("a beacon was sent: %v", err)
	}
}
