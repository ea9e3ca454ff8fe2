package subscribe_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

const deletedText = "deleted by ann@host, because it was mistyped ("

// delete commits and announces a version that deletes prices.
func (w *world) delete(version uint64, drop bool) dataset.VersionRecord {
	w.t.Helper()
	rec := w.commitAs("prices", version, nil, func(rec *dataset.VersionRecord) {
		rec.Deleted, rec.Dropped, rec.By, rec.Reason = true, drop, "ann@host", "it was mistyped"
	})
	w.announce(rec)
	return rec
}

// awaitDeleted waits until s has the version rec, which deletes prices, and checks what it says. kept is the version that it answers from;
// 0 for none.
func awaitDeleted(t *testing.T, s *subscribe.Subscriber, rec dataset.VersionRecord, kept uint64) {
	t.Helper()
	await(t, "the deleted version", func() bool { return statusOf(t, s, "prices").Version == rec.Version })
	d := statusOf(t, s, "prices")
	if d.ID != rec.VersionID() || d.Newest != rec.Version || d.BehindSeconds != 0 || d.Deleted == nil || d.Deleted.Serves.Version != kept ||
		!strings.HasPrefix(d.Deleted.String(), deletedText) || !d.Deleted.At.Equal(rec.Created) || d.Deleted.Dropped != rec.Dropped {
		t.Errorf("the status is %+v, %+v; want version %d to be served", d, d.Deleted, kept)
	}
	if got, ok := handle(s, "prices").Deleted(); !ok || got.VersionID() != rec.VersionID() {
		t.Errorf("it is deleted by %+v, %t", got, ok)
	}
	if !slices.Contains(s.Status().Abilities, fleet.AbilityDeleted) {
		t.Errorf("the abilities are %q", s.Status().Abilities)
	}
}

// A dataset that is deleted goes on answering from its table, also after a restart, until a later version replaces it.
func TestDeletedDatasetGoesOnAnswering(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir, cfg.RemoteGet = filepath.Join(t.TempDir(), "cache"), true
	w.fill(cfg, "prices", 2)
	two, err := w.store.Version(t.Context(), "prices", 2)
	if err != nil {
		t.Fatal(err)
	}
	book := &logbook{}
	cfg.Log = book.logger()
	s := open(t, cfg)
	var swaps atomic.Int64
	stop, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) {
		swaps.Add(1)
		versionOf(t, swap.New)
		if swap.New.Version() != swap.Record.Version || swap.ID != swap.Record.VersionID() {
			t.Errorf("a swap to version %d of the record %+v, id %s", swap.New.Version(), swap.Record, swap.ID)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	awaitVersion(t, s, "prices", 2)
	rec := w.delete(3, false)
	awaitDeleted(t, s, rec, 2)
	d := handle(s, "prices")
	if value, ok, err := d.Get("key1"); string(value) != "2" || !ok || err != nil {
		t.Errorf("a lookup: %q, %t, %v", value, ok, err)
	}
	if now, ok := d.Version(); !ok || now.Version != 2 || d.VersionID() != two.VersionID() || versionOf(t, d.Table()) != 2 {
		t.Errorf("the served version is %+v, id %s", now, d.VersionID())
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("a wait with a table: %v", err)
	}
	if a := w.get(w.surveyed(1), "key1")[0]; a.Version != 2 || a.ID != two.VersionID() || a.Err != nil {
		t.Errorf("a remote get: %+v", a)
	}
	await(t, "the log", func() bool { return book.has("a version deletes the dataset") && book.has("now=deleted") })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A restart: the table in the cache folder is served again, and is deleted again.
	s = open(t, cfg)
	if err := s.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	awaitDeleted(t, s, rec, 2)
	if d := statusOf(t, s, "prices"); d.Records != 20 || strings.Contains(d.Warning, "cache folder") {
		t.Errorf("the status is %+v", d)
	}

	// A release before this one publishes a delta from the deleted version. It does not apply to the served table.
	content := numbered(4)
	delta := w.put(buildDelta(t, records{}, content))
	delta.Version, delta.From = 4, rec.VersionID()
	next := w.commitAs("prices", 4, content, func(next *dataset.VersionRecord) {
		next.Snapshot, next.Deltas = rec.Snapshot, []dataset.Object{delta}
	})
	w.announce(next)
	awaitVersion(t, s, "prices", 4)
	if d := statusOf(t, s, "prices"); d.Deleted != nil || !d.LastPull.Full || d.LastPull.Fallback != "" || d.State == fleet.Deleted {
		t.Errorf("the status is %+v", d)
	}
	if _, ok := handle(s, "prices").Deleted(); ok {
		t.Error("it is still deleted")
	}
	if n := swaps.Load(); n != 1 {
		t.Errorf("the callback was called %d times, want once: the delete changes no record", n)
	}
}

// A delete that drops the table leaves an empty one: lookups find nothing, and callbacks and views see all records removed. A restart has
// no table.
func TestDroppedDatasetFindsNothing(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	d := handle(s, "prices")
	var removed atomic.Int64
	if _, err := d.OnSwap(func(swap subscribe.Swap) {
		for c := range swap.Changes() {
			if c.Op == subscribe.Removed {
				removed.Add(1)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	view, err := subscribe.NewView(d, func(_, value []byte) (string, error) { return string(value), nil }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	rec := w.delete(2, true)
	awaitDeleted(t, s, rec, 2)
	if value, ok, err := d.Get("key1"); value != nil || ok || err != nil || d.Table().Len() != 0 {
		t.Errorf("a lookup: %q, %t, %v", value, ok, err)
	}
	await(t, "the callback", func() bool { return removed.Load() == 20 })
	await(t, "the view", func() bool { _, ok, err := view.Get("key1"); return !ok && err == nil })
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("a wait with a table: %v", err)
	}
	await(t, "the cache folder to have the empty version", func() bool { return len(files(t, cfg.CacheDir)) == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	w.down()
	s = open(t, cfg)
	if err := s.Wait(w.context()); !errors.Is(err, subscribe.ErrDeleted) {
		t.Errorf("a restart with all servers down waits: %v", err)
	}
	awaitDeleted(t, s, rec, 0)
}

// A new instance of a deleted dataset has no table. Its waits end with who deleted the dataset and why, and a later publish begins it.
func TestNewInstanceOfADeletedDataset(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	rec := w.delete(2, false)
	s := open(t, w.config("prices"))
	d := handle(s, "prices")
	view, err := subscribe.NewView(d, func(_, value []byte) (string, error) { return string(value), nil })
	if err != nil {
		t.Fatal(err)
	}
	for what, wait := range map[string]func(context.Context) error{"subscriber": s.Wait, "dataset": d.Wait, "view": view.Wait} {
		err := wait(w.context())
		deleted, ok := errors.AsType[*subscribe.DeletedError](err)
		if !ok || deleted.Record.VersionID() != rec.VersionID() || !errors.Is(err, subscribe.ErrDeleted) || !errors.Is(err, subscribe.ErrNoVersion) ||
			!strings.Contains(err.Error(), "wait for the first version: dataset prices: "+deletedText) {
			t.Errorf("the %s waits: %v", what, err)
		}
	}
	awaitDeleted(t, s, rec, 0)
	if _, _, err := d.Get("key1"); !errors.Is(err, subscribe.ErrDeleted) || !errors.Is(err, subscribe.ErrNoVersion) {
		t.Errorf("a lookup: %v", err)
	}
	if _, _, err := view.Get("key1"); !errors.Is(err, subscribe.ErrDeleted) {
		t.Errorf("a lookup through a view: %v", err)
	}
	if _, ok := d.Version(); ok || d.Table() != nil || !d.VersionID().IsZero() {
		t.Error("it has a version")
	}
	w.publish("prices", 3)
	awaitVersion(t, s, "prices", 3)
	if err := s.Wait(w.context()); err != nil {
		t.Error(err)
	}
}

// A wait for several datasets that ends otherwise says which of them are deleted.
func TestWaitForSeveralDatasetsNamesTheDeleted(t *testing.T) {
	w := newWorld(t)
	rec := w.delete(1, false)
	s := open(t, w.config("rules", "prices"))
	awaitDeleted(t, s, rec, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ended); err == nil || !strings.Contains(err.Error(), "prices ("+deletedText) {
		t.Errorf("the wait ends with %v", err)
	}
}

// A wait that began before the delete ends with it, and a wait for a later version goes on.
func TestWaitEndsWithTheDelete(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	waits := make(chan error, 1)
	go func() { waits <- s.Wait(w.context()) }()
	w.delete(1, false)
	if err := <-waits; !errors.Is(err, subscribe.ErrDeleted) {
		t.Errorf("the wait ends with %v", err)
	}
}
