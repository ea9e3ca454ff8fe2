package publish_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
)

// world is a store with a publisher that announces nothing, as if it died after each commit, and one for repairs.
type world struct {
	*servers
	dead  *rig
	alive *publish.Publisher
	nc    *nats.Conn
	rdb   redis.UniversalClient
	lines *lines
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{servers: newServers(t), lines: &lines{}}
	w.dead = newRig(t, nil)
	w.alive = w.publisher(t, w.dead.store)
	var err error
	if w.nc, err = nats.Connect(w.nats.URL, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	if w.rdb, err = catalog.Connect(w.redis.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.rdb.Close() })
	return w
}

// publisher returns a publisher on st with the servers.
func (w *world) publisher(t *testing.T, st store.Store) *publish.Publisher {
	t.Helper()
	p, err := publish.Open(publish.Config{TempDir: t.TempDir(), AnnounceTimeout: 2 * time.Second, Log: slog.New(slog.NewTextHandler(w.lines, nil))},
		publish.Deps{Store: st, Events: w.log, Catalog: w.index})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// commit commits that many versions of the dataset, and does not announce them.
func (w *world) commit(t *testing.T, name string, versions int) {
	t.Helper()
	for range versions {
		newest, err := w.dead.store.Latest(t.Context(), name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if got := w.dead.text(t, name, fmt.Sprintf(`{"id":"a","v":%d}`, newest.Version)); !got.Created || got.Record.Version != newest.Version+1 {
			t.Fatalf("%+v", got)
		}
	}
}

// through returns the numbers from one to the other, up or down.
func through(from, to uint64) (all []uint64) {
	step := uint64(1)
	if from > to {
		step = -step
	}
	for ; from != to; from += step {
		all = append(all, from)
	}
	return append(all, to)
}

// whole fails unless the event log and the catalog have exactly the versions of the dataset up to the one given.
func (w *world) whole(t *testing.T, name string, version uint64) {
	t.Helper()
	equal(t, "announced of "+name, through(1, version), w.announced(t, name))
	equal(t, "indexed of "+name, through(version, max(1, version-min(version, catalog.MaxVersions)+1)), w.indexed(t, name))
	rec, err := w.dead.store.Latest(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	latest, err := w.log.Latest(t.Context(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "event", rec, latest[name])
	indexed, err := w.index.Latest(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "entry", rec, indexed)
}

func (w *world) deleteStream(t *testing.T) {
	t.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "FRESHET"); err != nil {
		t.Fatal(err)
	}
}

func (w *world) flush(t *testing.T) {
	t.Helper()
	if err := w.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// A repair completes, in order, what a publisher that died left, and what servers that were wiped had.
func TestRepair(t *testing.T) {
	w := newWorld(t)
	repair := func(want ...publish.RepairResult) {
		t.Helper()
		got, err := w.alive.Repair(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "repairs", want, got)
		got, err = w.alive.Repair(t.Context())
		if err != nil || len(got) > 0 {
			t.Errorf("a second repair does %+v, %v", got, err)
		}
	}
	repair() // creates the stream
	if _, err := w.log.Latest(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for range w.log.History(t.Context(), "prices", 1) {
		t.Error("there is an event, or no log")
	}

	w.commit(t, "prices", 3)
	w.commit(t, "cities", 40)
	repair(
		publish.RepairResult{What: publish.RepairAnnounce, Dataset: "cities", From: 1, To: 40},
		publish.RepairResult{What: publish.RepairAnnounce, Dataset: "prices", From: 1, To: 3},
		publish.RepairResult{What: publish.RepairIndex, Dataset: "cities", From: 9, To: 40},
		publish.RepairResult{What: publish.RepairIndex, Dataset: "prices", From: 1, To: 3},
	)
	w.whole(t, "prices", 3)
	w.whole(t, "cities", 40)

	// Dead between the two steps.
	w.commit(t, "prices", 1)
	rec, err := w.dead.store.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.log.Announce(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	repair(publish.RepairResult{What: publish.RepairIndex, Dataset: "prices", From: 4, To: 4})

	w.flush(t)
	repair(
		publish.RepairResult{What: publish.RepairIndex, Dataset: "cities", From: 9, To: 40},
		publish.RepairResult{What: publish.RepairIndex, Dataset: "prices", From: 1, To: 4},
	)
	w.deleteStream(t)
	w.commit(t, "prices", 1)
	w.flush(t)
	repair(
		publish.RepairResult{What: publish.RepairAnnounce, Dataset: "cities", From: 1, To: 40},
		publish.RepairResult{What: publish.RepairAnnounce, Dataset: "prices", From: 1, To: 5},
		publish.RepairResult{What: publish.RepairIndex, Dataset: "cities", From: 9, To: 40},
		publish.RepairResult{What: publish.RepairIndex, Dataset: "prices", From: 1, To: 5},
	)
	w.whole(t, "prices", 5)
	w.whole(t, "cities", 40)
}

// Concurrent repairs and publishes add each version once and in order.
func TestRepairsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 30)
	w.commit(t, "cities", 5)
	other := w.publisher(t, w.dead.store)
	var all sync.WaitGroup
	for _, p := range []*publish.Publisher{w.alive, other, w.alive, other} {
		all.Go(func() {
			if _, err := p.Repair(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		for i := range 5 {
			if _, err := other.Publish(t.Context(), "prices", input(fmt.Sprintf(`{"id":"b","v":%d}`, i))); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Error(err)
	}
	w.whole(t, "prices", 35)
	w.whole(t, "cities", 5)
}

// With one server gone the other is repaired, and the first once it is back.
func TestRepairWithAServerDown(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 3)
	w.redis.Kill()
	repairs, err := w.alive.Repair(t.Context())
	if err == nil || len(repairs) != 2 || repairs[0].To != 3 || repairs[1].What != publish.RepairIndex || repairs[1].Err == nil {
		t.Errorf("without Redis: %+v, %v", repairs, err)
	}
	w.redis.Start()
	w.nats.Kill()
	w.commit(t, "prices", 1)
	repairs, err = w.alive.Repair(t.Context())
	if err == nil || len(repairs) != 2 || repairs[0].What != publish.RepairAnnounce || repairs[0].Err == nil || repairs[1].To != 4 {
		t.Errorf("without NATS: %+v, %v", repairs, err)
	}
	w.nats.Start()
	for range 10 { // the connection comes back by itself
		if _, err = w.alive.Repair(t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		t.Error(err)
	}
	w.whole(t, "prices", 4)
}

// A log with many versions missing gets the last thousand.
func TestRepairIsBounded(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 1)
	rec, err := w.dead.store.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	for rec.Version < 1100 {
		rec.Version++
		if err := w.dead.store.PutVersion(t.Context(), fullRecord(rec)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "announced", through(101, 1100), w.announced(t, "prices"))
}

// fullRecord returns rec with a snapshot of its own.
func fullRecord(rec dataset.VersionRecord) dataset.VersionRecord {
	rec.Snapshot.Version, rec.Deltas = rec.Version, nil
	return rec
}

// A damaged record blocks neither the newest version nor the other datasets.
func TestRepairGoesAroundDamage(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "cities", 5)
	w.commit(t, "prices", 2)
	w.dead.damageRecord(t, "cities", 3)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "announced", []uint64{1, 2, 4, 5}, w.announced(t, "cities"))
	w.commit(t, "cities", 1)
	w.commit(t, "prices", 1)
	w.dead.damageRecord(t, "cities", 6)
	repairs, err := w.alive.Repair(t.Context())
	if !errors.Is(err, store.ErrDamaged) || len(repairs) != 2 {
		t.Errorf("%+v, %v", repairs, err)
	}
	w.whole(t, "prices", 3)
}

// The last event of a dataset is not readable: the newest version goes after it.
func TestRepairAfterAnUnreadableEvent(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 3)
	if _, err := w.alive.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "freshet.v1.versions.prices", []byte("what?")); err != nil {
		t.Fatal(err)
	}
	repairs, err := w.alive.Repair(t.Context())
	if err != nil || len(repairs) != 1 || repairs[0].From != 3 || repairs[0].To != 3 {
		t.Errorf("%+v, %v", repairs, err)
	}
	latest, err := w.log.Latest(t.Context(), []string{"prices"})
	if err != nil || latest["prices"].Version != 3 {
		t.Errorf("%+v, %v", latest, err)
	}
}

func TestRepairEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.alive.Repair(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}
