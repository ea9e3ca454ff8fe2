package events_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record returns a version record that passes Check.
func record(name string, version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{
		Dataset: name, Version: version, Seed: 1,
		State:    dataset.Checksum{Records: 10 + version, Lo: version},
		Snapshot: dataset.Object{Version: version, Digest: dataset.Digest{1, byte(version), byte(version >> 8)}, Bytes: 20_000},
		Changes:  dataset.Changes{Added: 10},
		Created:  time.Date(2026, 11, 22, 17, 44, 41, 123456789, time.UTC),
		Source:   "test",
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// connect connects as the product does, but retries immediately.
func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	quick := nats.CustomReconnectDelay(func(int) time.Duration { return 2 * time.Millisecond })
	nc, err := events.Connect(url, "test", slog.New(slog.DiscardHandler), append([]nats.Option{quick}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func newLog(t testing.TB, nc *nats.Conn, cfg events.Config) *events.Log {
	t.Helper()
	log, err := events.NewLog(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// start starts a server and returns an event log on it, whose stream does not exist yet.
func start(t testing.TB) (context.Context, *servertest.NATSServer, *nats.Conn, *events.Log) {
	t.Helper()
	s := servertest.NATS(t)
	nc := connect(t, s.URL)
	return testContext(t), s, nc, newLog(t, nc, events.Config{})
}

func stream(t testing.TB, ctx context.Context, nc *nats.Conn) jetstream.Stream {
	t.Helper()
	s, err := api(t, nc).Stream(ctx, "FRESHET")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func api(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func announce(t testing.TB, ctx context.Context, log *events.Log, name string, versions ...uint64) {
	t.Helper()
	for _, v := range versions {
		if err := log.Announce(ctx, record(name, v)); err != nil {
			t.Fatal(err)
		}
	}
}

// history returns the versions of the dataset in the order of the log.
func history(t testing.TB, ctx context.Context, log *events.Log, name string) []uint64 {
	t.Helper()
	var versions []uint64
	for e, err := range log.History(ctx, name, 1) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, e.Record.Version)
	}
	return versions
}

// upTo returns 1, 2 ... n.
func upTo(n int) []uint64 {
	versions := make([]uint64, n)
	for i := range versions {
		versions[i] = uint64(i + 1)
	}
	return versions
}

// eventually waits for the condition.
func eventually(t testing.TB, ctx context.Context, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// must returns a function that fails the test on an error, and otherwise returns the value.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
