package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
)

// listen runs a listener until the test ends, or until the returned function is called.
func listen(t testing.TB, ctx context.Context, nc *nats.Conn, cfg events.ListenerConfig, names ...string) (*events.Listener, func()) {
	t.Helper()
	l := must(events.NewListener(nc, names, cfg))(t)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop := func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return l, stop
}

// receive returns the next value of the channel.
func receive[T any](t testing.TB, ctx context.Context, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-ctx.Done():
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// expectCatchUp waits for a request to catch up with the given reason.
func expectCatchUp(t testing.TB, ctx context.Context, l *events.Listener, reason string) {
	t.Helper()
	if got := receive(t, ctx, "catch-up: "+reason, l.CatchUps()); !strings.Contains(got, reason) {
		t.Fatalf("the reason for the catch-up is %q, want %q", got, reason)
	}
}

// follower behaves like an instance: it receives versions, catches up on request, and keeps the highest version.
type follower struct {
	log      *events.Log
	name     string
	version  uint64
	reasons  []string
	received int
}

// until follows until the follower has the version.
func (f *follower) until(t testing.TB, ctx context.Context, l *events.Listener, version uint64) {
	t.Helper()
	for f.version < version {
		select {
		case rec := <-l.Versions():
			f.received++
			f.version = max(f.version, rec.Version)
		case why := <-l.CatchUps():
			f.reasons = append(f.reasons, why)
			f.catchUp(t, ctx)
		case <-ctx.Done():
			t.Fatalf("version %d never arrives, the highest is %d; reasons for catch-ups: %q", version, f.version, f.reasons)
		}
	}
}

// catchUp retries until it succeeds, as an instance does with a backoff.
func (f *follower) catchUp(t testing.TB, ctx context.Context) {
	t.Helper()
	eventually(t, ctx, "a catch-up succeeds", func() bool {
		latest, err := f.log.Latest(ctx, []string{f.name})
		f.version = max(f.version, latest[f.name].Version)
		return err == nil
	})
}

func TestListenerGivesLiveEvents(t *testing.T) {
	ctx, s, _, log := start(t)
	l, stop := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, "cities", "prices")
	expectCatchUp(t, ctx, l, "start")
	announce(t, ctx, log, "rules", 1) // not a dataset of the listener
	for v := uint64(1); v <= 3; v++ {
		announce(t, ctx, log, "cities", v)
		got := receive(t, ctx, "a version", l.Versions())
		if diff := cmp.Diff(record("cities", v), got); diff != "" {
			t.Error(diff)
		}
	}
	announce(t, ctx, log, "prices", 9)
	if got := receive(t, ctx, "a version", l.Versions()); got.ID() != "prices/9" {
		t.Errorf("received %s", got.ID())
	}
	stop()

	// Run can be called again.
	ctx2, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx2) }()
	expectCatchUp(t, ctx, l, "start")
	announce(t, ctx, log, "prices", 10)
	if got := receive(t, ctx, "a version", l.Versions()); got.ID() != "prices/10" {
		t.Errorf("received %s", got.ID())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Invariant: a version that is announced at any moment of a listener's start arrives, live or by the catch-up.
func TestNoEventFallsBetweenSubscriptionAndCatchUp(t *testing.T) {
	ctx, s, _, log := start(t)
	nc := connect(t, s.URL)
	for i := uint64(1); i <= 50; i++ {
		announced := make(chan error, 1)
		go func() { announced <- log.Announce(ctx, record("cities", i)) }()
		l, stop := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
		f := follower{log: newLog(t, nc, events.Config{}), name: "cities"}
		f.until(t, ctx, l, i)
		stop()
		if err := <-announced; err != nil {
			t.Fatal(err)
		}
	}
}

// The listener is disconnected while the server restarts and a version is announced; it reconnects after that.
func TestVersionsAnnouncedDuringARestartAreCaughtUp(t *testing.T) {
	for name, restart := range map[string]func(s *servertest.NATSServer){
		"stop": func(s *servertest.NATSServer) { s.Restart() },
		"kill": func(s *servertest.NATSServer) { s.Kill(); s.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, s, _, log := start(t)
			var hold atomic.Pointer[chan struct{}]
			delay := nats.CustomReconnectDelay(func(int) time.Duration {
				if until := hold.Load(); until != nil {
					<-*until
				}
				return time.Millisecond
			})
			nc := connect(t, s.URL, delay)
			l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
			f := follower{log: newLog(t, nc, events.Config{}), name: "cities"}
			expectCatchUp(t, ctx, l, "start")
			announce(t, ctx, log, "cities", 1)
			f.until(t, ctx, l, 1)

			until := make(chan struct{})
			hold.Store(&until)
			restart(s)
			announce(t, ctx, log, "cities", 2)
			if nc.IsConnected() {
				t.Fatal("the listener is connected: this test shows nothing")
			}
			hold.Store(nil)
			close(until)
			f.received = 0
			f.until(t, ctx, l, 2)
			if f.received != 0 || !slices.Equal(f.reasons, []string{"reconnected"}) {
				t.Errorf("%d versions arrived live; reasons for catch-ups: %q", f.received, f.reasons)
			}
			// Live events arrive again.
			announce(t, ctx, log, "cities", 3)
			f.until(t, ctx, l, 3)
			if f.received != 1 {
				t.Errorf("%d versions arrived live after the reconnect, want 1", f.received)
			}
		})
	}
}

func TestListenerOutlivesADeletedStream(t *testing.T) {
	ctx, s, nc, log := start(t)
	announce(t, ctx, log, "cities", 1, 2, 3)
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, "cities")
	f := follower{log: log, name: "cities"}
	f.until(t, ctx, l, 3) // by the first catch-up
	if err := api(t, nc).DeleteStream(ctx, "FRESHET"); err != nil {
		t.Fatal(err)
	}
	// The new stream's sequences begin at 1 again, far below the old ones.
	announce(t, ctx, log, "cities", 4)
	f.until(t, ctx, l, 4)
	if f.received != 1 {
		t.Errorf("version 4 did not arrive live; reasons for catch-ups: %q", f.reasons)
	}
}

// Invariant: with a buffer that drops events in every flood, a follower still reaches the newest version.
func TestSlowConsumerCatchesUp(t *testing.T) {
	ctx, s, nc, log := start(t)
	listening := connect(t, s.URL)
	l, _ := listen(t, ctx, listening, events.ListenerConfig{Buffer: 1}, "cities")
	f := follower{log: newLog(t, listening, events.Config{}), name: "cities"}
	if err := log.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	dropped := func(why string) bool { return strings.Contains(why, "dropped") }
	version := uint64(0)
	for flood := 0; flood < 20 || !slices.ContainsFunc(f.reasons, dropped); flood++ {
		for range 200 {
			version++
			event := must(dataset.EncodeEvent(record("cities", version)))(t)
			if err := nc.Publish("freshet.v1.versions.cities", event); err != nil {
				t.Fatal(err)
			}
		}
		f.until(t, ctx, l, version)
	}
	t.Logf("%d versions, %d received, caught up %d times", version, f.received, len(f.reasons))
}

func TestVersionsCoalesce(t *testing.T) {
	_, _, nc, _ := start(t)
	l := must(events.NewListener(nc, []string{"cities", "prices"}, events.ListenerConfig{}))(t)
	message := func(subject, name string, version uint64) *nats.Msg {
		event := must(dataset.EncodeEvent(record(name, version)))(t)
		return &nats.Msg{Subject: "freshet.v1.versions." + subject, Data: event}
	}
	records, why := l.Coalesce(
		message("prices", "prices", 4),
		message("cities", "cities", 1),
		message("cities", "cities", 3),
		message("cities", "cities", 2), // one that the stream may have refused
		message("rules", "rules", 7),   // received due to the wildcard
		message("prices", "prices", 5),
	)
	var got []string
	for _, rec := range records {
		got = append(got, rec.ID())
	}
	if !slices.Equal(got, []string{"prices/5", "cities/3"}) || why != "" {
		t.Errorf("to be sent: %v, catch-up: %q", got, why)
	}
	records, why = l.Coalesce(message("cities", "prices", 6), &nats.Msg{Subject: "freshet.v1.versions.cities"})
	if len(records) != 0 || !strings.Contains(why, "version prices/6 on the subject freshet.v1.versions.cities") {
		t.Errorf("to be sent: %v, catch-up: %q", records, why)
	}
}

// Invariant: events of other stores, with any numbers, never hide a version of the caller's store, and need bounded memory.
func TestVersionsOfAnotherStoreHideNone(t *testing.T) {
	_, s, _, _ := start(t)
	l := must(events.NewListener(connect(t, s.URL), []string{"cities"}, events.ListenerConfig{Buffer: 8}))(t)
	message := func(store dataset.StoreID, version uint64) *nats.Msg {
		rec := record("cities", version)
		rec.StoreID = store
		return &nats.Msg{Subject: "freshet.v1.versions.cities", Data: must(dataset.EncodeEvent(rec))(t)}
	}
	ours, theirs := dataset.NewStoreID(), dataset.NewStoreID()
	records, catchUp := l.Coalesce(message(ours, 5), message(theirs, 9), message(ours, 6), message(theirs, 8))
	if len(records) != 2 || records[0].StoreID != ours || records[0].Version != 6 || records[1].Version != 9 || catchUp != "" {
		t.Errorf("got %+v, %q; want version 6 of the one store and 9 of the other", records, catchUp)
	}
	var flood []*nats.Msg
	for range 100 {
		flood = append(flood, message(dataset.NewStoreID(), 7))
	}
	if records, catchUp := l.Coalesce(flood...); len(records) != 9 || catchUp == "" {
		t.Errorf("of the events of 100 stores %d are pending, want the size of the buffer and one; catch-up %q", len(records), catchUp)
	}
}

func TestUnreadableEventAsksForACatchUp(t *testing.T) {
	ctx, s, nc, log := start(t)
	l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, "cities")
	expectCatchUp(t, ctx, l, "start")
	if err := nc.Publish("freshet.v1.versions.cities", []byte(`{"specversion":"1.0"}`)); err != nil {
		t.Fatal(err)
	}
	expectCatchUp(t, ctx, l, "an event on freshet.v1.versions.cities is not readable")
	announce(t, ctx, log, "cities", 1)
	if got := receive(t, ctx, "a version", l.Versions()); got.Version != 1 {
		t.Errorf("received %s", got.ID())
	}
}

func TestManyDatasetsShareASubscription(t *testing.T) {
	ctx, s, _, log := start(t)
	nc := connect(t, s.URL)
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("dataset-%02d", i)
	}
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, names...)
	expectCatchUp(t, ctx, l, "start")
	if n := nc.NumSubscriptions(); n != 2 { // one for events, one for beacons
		t.Errorf("%d subscriptions for 100 datasets", n)
	}
	announce(t, ctx, log, "cities", 1) // not a dataset of the listener
	announce(t, ctx, log, "dataset-42", 1)
	if got := receive(t, ctx, "a version", l.Versions()); got.ID() != "dataset-42/1" {
		t.Errorf("received %s", got.ID())
	}
}

func TestListenerNeedsPermission(t *testing.T) {
	s := servertest.NATS(t, servertest.NATSConfig(`authorization { users: [
		{ user: admin, password: secret }
		{ user: instance, password: secret, permissions: { subscribe: [ "_INBOX.>", "freshet.v1.versions.prices" ] } }
	] }`), servertest.NATSLogin("admin", "secret"))
	ctx := testContext(t)
	nc := connect(t, s.URL, nats.UserInfo("instance", "secret"))
	l := must(events.NewListener(nc, []string{"prices", "cities"}, events.ListenerConfig{}))(t)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	err := receive(t, ctx, "Run ends", done)
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "freshet.v1.versions.cities") {
		t.Errorf("Run: %v", err)
	}
}

func TestListenerOfAClosedConnection(t *testing.T) {
	ctx, s, _, _ := start(t)
	nc := connect(t, s.URL)
	l := must(events.NewListener(nc, []string{"cities"}, events.ListenerConfig{}))(t)
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	expectCatchUp(t, ctx, l, "start")
	nc.Close()
	if err := receive(t, ctx, "Run ends", done); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if err := l.Run(ctx); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Run on a closed connection: %v", err)
	}
}

// Before the server has confirmed the subscriptions, the listener must not request a catch-up: it could precede them.
func TestNoCatchUpBeforeTheServerConfirms(t *testing.T) {
	ctx, s, _, log := start(t)
	announce(t, ctx, log, "cities", 1)
	nc := connect(t, s.URL)
	s.Pause()
	l, _ := listen(t, ctx, nc, events.ListenerConfig{}, "cities")
	eventually(t, ctx, "subscribed", func() bool { return nc.NumSubscriptions() == 2 })
	looks := 0
	eventually(t, ctx, "nothing in 25 looks", func() bool {
		select {
		case why := <-l.CatchUps():
			t.Errorf("a request to catch up with a frozen server: %q", why)
		default:
		}
		looks++
		return looks == 25
	})
	s.Resume()
	expectCatchUp(t, ctx, l, "start")
}

func TestNewListenerRefuses(t *testing.T) {
	_, _, nc, _ := start(t)
	if _, err := events.NewListener(nc, []string{"cities", "*"}, events.ListenerConfig{}); !errors.Is(err, dataset.ErrName) {
		t.Errorf("a wildcard for a name: %v", err)
	}
	if _, err := events.NewListener(nc, nil, events.ListenerConfig{Buffer: -1}); err == nil {
		t.Error("a negative buffer is accepted")
	}
}
