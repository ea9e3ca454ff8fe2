package timeline_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/timeline"
)

// A follower gets everything once, also what happened while NATS was down and of which no message was ever sent.
func TestFollowOverNATS(t *testing.T) {
	server := servertest.NATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connect := func() *nats.Conn {
		quick := nats.CustomReconnectDelay(func(int) time.Duration { return 2 * time.Millisecond })
		nc, err := events.Connect(server.URL, "test", slog.New(slog.DiscardHandler), quick)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	sender := connect()
	watcher, err := events.NewWatcher(connect(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	h := newHistory(t)
	h.version("a", 1, 0)
	got := make(chan string, 100)
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- watcher.Run(following) }()
	go func() {
		read := func(ctx context.Context, q timeline.Query, yield func(timeline.Event) error) (timeline.Positions, error) {
			after, _, err := timeline.NewReader(h.st).Read(ctx, q, yield)
			return after, err
		}
		ended <- timeline.Follow(following, timeline.Query{}, read, watcher.Changes(),
			func(e timeline.Event) error { got <- name(e); return nil }, func(err error) { t.Errorf("a read fails: %v", err) })
	}()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case n := <-got:
				if n != w {
					t.Errorf("the next event is %s, want %s", n, w)
				}
			case <-ctx.Done():
				t.Fatalf("%s never arrives", w)
			}
		}
	}
	send := func(name string, number uint64) {
		t.Helper()
		e, err := h.st.Entry(ctx, name, number)
		if err != nil {
			t.Fatal(err)
		}
		if err := events.SendEntry(ctx, sender, "", e); err != nil {
			t.Fatal(err)
		}
	}
	expect("a1")
	h.entry("a", 1, 1)
	send("a", 1)
	expect("a.1")

	connected := sender.StatusChanged(nats.CONNECTED)
	server.Kill()
	h.version("a", 2, 2)
	h.entry("b", 1, 3)
	h.version("b", 1, 4)
	server.Start()
	expect("a2", "b.1", "b1")
	select {
	case <-connected:
	case <-ctx.Done():
		t.Fatal("the sender does not connect again")
	}
	h.entry("b", 2, 5)
	send("b", 2)
	expect("b.2")

	stop()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(got) > 0 {
		t.Errorf("one more event: %s", <-got)
	}
}
