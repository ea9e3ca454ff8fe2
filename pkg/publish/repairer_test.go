package publish_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
)

// runUntilDone runs run until the test is over.
func runUntilDone(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a stop is an error: %v", err)
		}
	})
}

// await waits until done, and fails after a while.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("in vain: " + what)
		}
	}
}

// Run heals the event log and the catalog within some periods of its beacon, whatever happens to the servers.
func TestRepairerHeals(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 3)
	var newest atomic.Uint64 // of the last beacon
	p, err := publish.Open(publish.Config{
		TempDir: t.TempDir(), AnnounceTimeout: 2 * time.Second, Log: slog.New(slog.NewTextHandler(w.lines, nil)), BeaconEvery: 100 * time.Millisecond,
	}, publish.Deps{
		Store: w.dead.store, Events: w.log, Catalog: w.index,
		SendBeacon: func(b events.Beacon) error { newest.Store(b.Newest["prices"]); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	runUntilDone(t, p.Run)
	healed := func(version uint64) {
		t.Helper()
		await(t, "heals", func() bool {
			latest, err := w.log.Latest(t.Context(), []string{"prices"})
			if err != nil || latest["prices"].Version != version {
				return false
			}
			indexed, err := w.index.Latest(t.Context(), "prices")
			return err == nil && indexed.Version == version
		})
		w.whole(t, "prices", version)
		await(t, "the beacon tells", func() bool { return newest.Load() == version })
	}
	healed(3)
	w.flush(t)
	healed(3)
	w.deleteStream(t)
	healed(3)
	w.commit(t, "prices", 1)
	healed(4)
	w.flush(t)
	w.deleteStream(t)
	w.commit(t, "prices", 2)
	healed(6)
	w.flush(t)
	w.redis.Kill()
	w.nats.Kill()
	w.commit(t, "prices", 1)
	w.redis.Start()
	w.nats.Start()
	p.Wake()
	healed(7)
	if text := w.lines.take(); !strings.Contains(text, `msg="completed what was missing" what=announce dataset=prices from=1 to=3`) {
		t.Errorf("the log says %s", text)
	}
}

// faultyServers is an event log that reports no events, and whose calls fail as a test decides.
type faultyServers struct {
	sync.Mutex
	announce func(rec dataset.VersionRecord) error
	latest   error
	told     []string
}

func (f *faultyServers) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	f.Lock()
	defer f.Unlock()
	return nil, f.latest
}

func (f *faultyServers) Last(context.Context, string) (dataset.VersionRecord, error) {
	f.Lock()
	defer f.Unlock()
	return dataset.VersionRecord{}, f.latest
}

func (*faultyServers) Ensure(context.Context) error { return nil }

func (f *faultyServers) Supersede(ctx context.Context, rec, _ dataset.VersionRecord) error {
	return f.Announce(ctx, rec)
}

func (f *faultyServers) Announce(_ context.Context, rec dataset.VersionRecord) error {
	f.Lock()
	defer f.Unlock()
	if err := f.announce(rec); err != nil {
		return err
	}
	f.told = append(f.told, rec.ID())
	return nil
}

// one is a store with some datasets of one version.
type one struct {
	store.Store
	names []string
	panic *atomic.Bool
}

func (s one) Newest(context.Context) (map[string]dataset.Ref, map[string]error, error) {
	if s.panic.Load() {
		panic("nil map")
	}
	newest := map[string]dataset.Ref{}
	for _, name := range s.names {
		newest[name] = dataset.Ref{Version: 1}
	}
	return newest, nil, nil
}

func (s one) Versions(_ context.Context, name string, _ uint64, _ int) ([]dataset.VersionRecord, error) {
	return []dataset.VersionRecord{{Dataset: name, Version: 1}}, nil
}

// A failure is retried, logged once, and does not stop other repairs.
func TestRepairerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text lines
		var panics atomic.Bool
		servers := &faultyServers{announce: func(rec dataset.VersionRecord) error {
			switch rec.Dataset {
			case "cities":
				return events.ErrConflict
			case "rules":
				panic("out of range")
			}
			return nil
		}}
		var failures, repairs atomic.Int32
		p, err := publish.Open(publish.Config{
			TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&text, nil)),
			OnRepair: func(r publish.RepairResult) {
				if r.Err != nil {
					failures.Add(1)
				} else {
					repairs.Add(1)
				}
			},
		}, publish.Deps{Store: one{names: []string{"cities", "prices", "rules"}, panic: &panics}, Events: servers})
		if err != nil {
			t.Fatal(err)
		}
		repairer := p.Repairer()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- repairer.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		servers.Lock()
		if !slices.Contains(servers.told, "prices/1") {
			t.Error("prices is not repaired because others are not")
		}
		servers.announce = func(dataset.VersionRecord) error { return nil }
		servers.Unlock()
		if failures.Load() < 4 || repairs.Load() < 2 {
			t.Errorf("%d failures, %d repairs", failures.Load(), repairs.Load())
		}
		said := text.take()
		for _, want := range []string{"dataset=cities", events.ErrConflict.Error(), "dataset=rules", "out of range"} {
			if strings.Count(said, "level=ERROR") != 2 || !strings.Contains(said, want) {
				t.Errorf("%q is not in the log, or more is:\n%s", want, said)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if said := text.take(); strings.Count(said, "can be completed again") != 2 || strings.Contains(said, "ERROR") {
			t.Errorf("the log says %s", said)
		}

		// The store panics, then the log does not answer: one failure each.
		panics.Store(true)
		repairer.Look(nil)
		repairer.Wake()
		time.Sleep(time.Minute)
		synctest.Wait()
		if said := text.take(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "nil map") {
			t.Errorf("the log says %s", said)
		}
		panics.Store(false)
		servers.Lock()
		servers.latest = errors.New("no answer")
		servers.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if said := text.take(); strings.Count(said, "no answer") != 1 || strings.Contains(said, "dataset=cities") {
			t.Errorf("the log says %s", said)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
