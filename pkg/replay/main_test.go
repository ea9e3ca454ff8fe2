package replay_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/replay"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// world is a store with versions 1 to 5 of prices, one a minute since noon, and a nats-server.
type world struct {
	t        *testing.T
	ctx      context.Context
	nats     *servertest.NATSServer
	nc       *nats.Conn // the replayer's
	store    store.Store
	replayer *replay.Replayer
	refs     map[uint64]dataset.Ref
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, nats: servertest.NATS(t), refs: map[uint64]dataset.Ref{}}
	w.nc = w.connect()
	st, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	w.store = st
	id, err := st.EnsureID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last dataset.VersionRecord
	for v := uint64(1); v <= 5; v++ {
		rec := dataset.VersionRecord{
			StoreID: id, Dataset: "prices", Version: v, Seed: 1, Snapshot: dataset.Object{Version: v, Digest: dataset.Digest{byte(v)}, Bytes: 1000},
			Created: noon.Add(time.Duration(v) * time.Minute),
		}
		if v > 1 {
			rec.Previous = last.VersionID()
		}
		if v == 5 { // version 4's snapshot and a delta
			rec.Snapshot = last.Snapshot
			rec.Deltas = []dataset.Object{{Version: 5, Digest: dataset.Digest{50}, Bytes: 10, From: last.VersionID()}}
		}
		if err := st.PutVersion(ctx, rec); err != nil {
			t.Fatal(err)
		}
		last, w.refs[v] = rec, rec.Ref()
	}
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	if w.replayer, err = replay.New(replay.Config{}, replay.Deps{Store: st, Journal: j, NATS: w.nc}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) connect() *nats.Conn {
	w.t.Helper()
	nc, err := events.Connect(w.nats.URL, "test", slog.New(slog.DiscardHandler), nats.CustomReconnectDelay(func(int) time.Duration { return 2 * time.Millisecond }))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// instance runs a fake instance with the name, which serves the version of prices and answers requests for replays with answer. Without
// an answer it has an earlier release. It returns a function that ends its answers to replays.
func (w *world) instance(name string, labels map[string]string, version uint64, answer func(fleet.ReplayRequest) fleet.ReplayReport) (end func()) {
	w.t.Helper()
	nc := w.connect()
	status := fleet.Status{Instance: name, Run: "RUN" + strings.ReplaceAll(name, "-", ""), Labels: labels, Datasets: []fleet.DatasetStatus{
		{Dataset: "prices", Version: version, ID: w.refs[version].ID}, {Dataset: "rules"},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	replays, endReplays := context.WithCancel(ctx)
	done, subscribed := make(chan error, 2), 2
	go func() { done <- fleet.NewResponder(nc, "", func() fleet.Status { return status }).Run(ctx) }()
	if answer != nil {
		subscribed++
		go func() { done <- fleet.NewReplayResponder(nc, "", status.Run, answer).Run(replays) }()
	} else {
		done <- nil
	}
	w.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				w.t.Error(err)
			}
		}
	})
	for nc.NumSubscriptions() < subscribed {
		select {
		case <-w.ctx.Done():
			w.t.Fatal("the instance does not subscribe")
		case <-time.After(time.Millisecond):
		}
	}
	if err := nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return endReplays
}

// does returns an answer of an instance that replays its version.
func (w *world) does(version uint64) func(fleet.ReplayRequest) fleet.ReplayReport {
	return func(q fleet.ReplayRequest) fleet.ReplayReport {
		return fleet.ReplayReport{State: fleet.ReplayDone, Version: version, ID: w.refs[version].ID, Full: q.Full, Callbacks: 1, Duration: time.Second}
	}
}

// entries returns the contents of the journal of prices, as JSON with who and why.
func (w *world) entries() (all []string) {
	w.t.Helper()
	entries, err := w.store.Entries(w.ctx, "prices", 1, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		content, err := replay.DecodeEntry(e)
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := json.Marshal(e.Content)
		if err != nil || len(text) == 0 {
			w.t.Fatal(err)
		}
		all = append(all, e.By+" "+e.Reason+": "+content.String())
	}
	return all
}
