package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
)

func entry(name string, number uint64) dataset.Entry {
	return dataset.Entry{
		StoreID: dataset.StoreID{1}, Dataset: name, Number: number, Kind: dataset.EntrySettings,
		Time: time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC), Content: json.RawMessage(`{}`),
	}
}

// watch runs a watcher until the test ends.
func watch(t *testing.T, ctx context.Context, nc *nats.Conn, namespace, name string) *events.Watcher {
	t.Helper()
	w, err := events.NewWatcher(nc, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the watcher ends with %v", err)
		}
	})
	return w
}

func wantChange(t *testing.T, ctx context.Context, w *events.Watcher, want string) {
	t.Helper()
	if got := receive(t, ctx, "a change", w.Changes()); got != want {
		t.Errorf("%q has changed, want %q", got, want)
	}
}

// A watcher reports versions and journal entries of its datasets and namespace. The event log keeps no entry: a catch-up reads versions.
func TestWatcher(t *testing.T) {
	ctx, s, nc, log := start(t)
	all, one := watch(t, ctx, connect(t, s.URL), "", ""), watch(t, ctx, connect(t, s.URL), "", "cities")
	elsewhere := watch(t, ctx, connect(t, s.URL), "prod", "")
	for _, w := range []*events.Watcher{all, one, elsewhere} {
		wantChange(t, ctx, w, "")
	}
	announce(t, ctx, log, "cities", 1)
	wantChange(t, ctx, all, "cities")
	wantChange(t, ctx, one, "cities")
	if err := events.SendEntry(ctx, nc, "", entry("prices", 1)); err != nil {
		t.Fatal(err)
	}
	wantChange(t, ctx, all, "prices")
	if err := events.SendEntry(ctx, nc, "", entry("cities", 1)); err != nil {
		t.Fatal(err)
	}
	wantChange(t, ctx, all, "cities")
	wantChange(t, ctx, one, "cities")
	if err := events.SendEntry(ctx, nc, "prod", entry("rules", 1)); err != nil {
		t.Fatal(err)
	}
	wantChange(t, ctx, elsewhere, "rules")

	if latest := must(log.Latest(ctx, []string{"cities", "prices"}))(t); len(latest) != 1 || latest["cities"].Version != 1 {
		t.Errorf("a catch-up reads %v", latest)
	}
	if last := must(log.Last(ctx, "cities"))(t); last.Version != 1 {
		t.Errorf("the last version is %d", last.Version)
	}
}

// Several messages of a dataset are one change.
func TestWatcherMergesChanges(t *testing.T) {
	ctx, s, nc, _ := start(t)
	w := watch(t, ctx, connect(t, s.URL), "", "")
	wantChange(t, ctx, w, "")
	for i := range uint64(20) {
		for _, name := range []string{"a", "b"} {
			if err := events.SendEntry(ctx, nc, "", entry(name, i+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := events.SendEntry(ctx, nc, "", entry("last", 1)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for name := ""; name != "last"; seen[name]++ {
		name = receive(t, ctx, "a change", w.Changes())
	}
	if seen["a"] == 0 || seen["b"] == 0 || seen["a"] > 20 || seen["b"] > 20 {
		t.Errorf("the changes are %v", seen)
	}
}

// After a restart of the server anything may have changed, and an entry is not sent while the server is down.
func TestWatcherAfterARestart(t *testing.T) {
	ctx, s, nc, _ := start(t)
	w := watch(t, ctx, connect(t, s.URL), "", "")
	wantChange(t, ctx, w, "")
	s.Kill()
	eventually(t, ctx, "the end of the connection", func() bool { return !nc.IsConnected() })
	if err := events.SendEntry(ctx, nc, "", entry("prices", 1)); !errors.Is(err, nats.ErrDisconnected) || !strings.Contains(err.Error(), "journal entry prices/1") {
		t.Errorf("without a server: %v", err)
	}
	s.Restart()
	wantChange(t, ctx, w, "")
	eventually(t, ctx, "a connection", nc.IsConnected)
	if err := events.SendEntry(ctx, nc, "", entry("prices", 2)); err != nil {
		t.Fatal(err)
	}
	wantChange(t, ctx, w, "prices")
}

func TestWatcherWithoutPermission(t *testing.T) {
	s := servertest.NATS(t, servertest.NATSConfig(
		`authorization { users: [ {user: a, password: a, permissions: {publish: ">", subscribe: {deny: "freshet.v1.journal.>"}}}, {user: freshet, password: x} ] }`),
		servertest.NATSLogin("freshet", "x"))
	nc := connect(t, s.URL, nats.UserInfo("a", "a"))
	w, err := events.NewWatcher(nc, "", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for {
			select {
			case <-w.Changes():
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := w.Run(ctx); !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "freshet.v1.journal.<dataset>") {
		t.Errorf("%v", err)
	}
	cancel()
	<-drained
	for _, bad := range [][2]string{{"Prod", ""}, {"", "Prices"}} {
		if _, err := events.NewWatcher(nc, bad[0], bad[1]); err == nil {
			t.Errorf("a watcher of %q in %q", bad[1], bad[0])
		}
	}
}
