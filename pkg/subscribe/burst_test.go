package subscribe_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// watched is an instance with readers of every kind that read continuously.
type watched struct {
	w         *workshop
	t         *testing.T
	dir       string // the cache folder
	s         *subscribe.Subscriber
	lazy      *subscribe.View[uint64]
	eager     *subscribe.View[uint64]
	handle    atomic.Pointer[table.Table] // the table of the last swap
	decoded   atomic.Int64                // by the eager view
	reads     atomic.Int64
	refreshes atomic.Int64 // that pulled
	full      atomic.Int64 // of them
}

// watch opens an instance with readers, which end with ctx.
func (w *workshop) watch(ctx context.Context, name string, readers *sync.WaitGroup) *watched {
	w.t.Helper()
	i := &watched{w: w, t: w.t, dir: w.t.TempDir()}
	cfg := w.config("prices")
	cfg.Instance, cfg.CacheDir = name, i.dir
	cfg.Observer.Swapped = func(r subscribe.Refresh) {
		i.refreshes.Add(1)
		if r.Full {
			i.full.Add(1)
		}
	}
	cfg.Observer.Failed = func(f subscribe.Failure) { w.t.Errorf("%s: version %d: %v", name, f.Record.Version, f.Err) }
	cfg.Observer.CacheFailed = func(f subscribe.CacheFailure) { w.t.Errorf("%s: %v", name, f.Err) }
	cfg.Observer.CallbackFailed = func(f subscribe.CallbackFailure) { w.t.Errorf("%s: %v", name, f.Err) }
	i.s = open(w.t, cfg)
	var err error
	number := func(_, value []byte) (uint64, error) { return groupNumberOrNone(value) }
	if i.lazy, err = subscribe.NewView(handle(i.s, "prices"), number); err != nil {
		w.t.Fatal(err)
	}
	if i.eager, err = subscribe.NewView(handle(i.s, "prices"), func(key, value []byte) (uint64, error) {
		i.decoded.Add(1)
		return number(key, value)
	}, subscribe.Eager()); err != nil {
		w.t.Fatal(err)
	}
	var last subscribe.Swap
	if _, err := handle(i.s, "prices").OnSwap(func(swap subscribe.Swap) { i.swap(&last, swap) }); err != nil {
		w.t.Fatal(err)
	}
	if err := i.eager.Wait(w.context()); err != nil {
		w.t.Fatal(err)
	}
	await(w.t, "the first swap", func() bool { return i.handle.Load() != nil })
	for what, read := range map[string]func() func() uint64{
		"Table":  func() func() uint64 { return i.tables(func() *table.Table { return handle(i.s, "prices").Table() }) },
		"Handle": func() func() uint64 { return i.tables(i.handle.Load) },
		"View":   func() func() uint64 { return i.views(i.lazy) },
		"Eager":  func() func() uint64 { return i.views(i.eager) },
	} {
		readers.Go(func() { i.keepReading(ctx, name+" by "+what, read()) })
	}
	return i
}

// groupNumberOrNone is groupNumber for any record of the dataset; records outside the group have no number.
func groupNumberOrNone(value []byte) (uint64, error) {
	if n, err := groupNumber(value); err == nil {
		return n, nil
	}
	return 0, nil
}

// keepReading calls read until ctx ends, and checks that the versions that it returns never go back.
func (i *watched) keepReading(ctx context.Context, who string, read func() uint64) {
	// Pauses leave the machine's cores to the servers and the publisher.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last := uint64(1)
	for {
		version := read()
		if i.reads.Add(1); version < last {
			i.t.Errorf("%s: version %d was read after version %d", who, version, last)
		}
		last = version
		select {
		case <-tick.C:
		case <-ctx.Done():
			if version = read(); version != i.w.last.Version {
				i.t.Errorf("%s: the last version read is %d", who, version)
			}
			return
		}
	}
}

// tables returns a reader of whole tables. For each new table it reads the version from the store: a served version has been
// committed, with the same state.
func (i *watched) tables(load func() *table.Table) func() uint64 {
	var last *table.Table
	return func() uint64 {
		tab := load()
		if err := checkGroup(tab); err != nil {
			i.t.Error(err)
		}
		if tab != last {
			rec, err := i.w.store.Version(context.Background(), "prices", tab.Version())
			if err != nil || rec.State != tab.State() {
				i.t.Errorf("version %d is served, which was not committed so: %v", tab.Version(), err)
			}
		}
		last = tab
		return tab.Version()
	}
}

// views returns a reader of single records through a view. Every Get may read another version, so a record has the number of a
// version between those that the view had before and after.
func (i *watched) views(view *subscribe.View[uint64]) func() uint64 {
	next := 0
	return func() uint64 {
		k := next % len(group)
		next++
		before := view.Version()
		n, ok, err := view.Get(string(group[k]))
		after := view.Version()
		version := n / groupValue(k, 1)
		if err != nil || !ok || n%groupValue(k, 1) != 0 || version < before || version > after {
			i.t.Errorf("%s is %d, %v, %v; the view was at version %d before and %d after", group[k], n, ok, err, before, after)
		}
		return version
	}
}

// swap checks that a swap continues the one before.
func (i *watched) swap(last *subscribe.Swap, swap subscribe.Swap) {
	if swap.Old != last.New || swap.New.Version() != swap.Record.Version || swap.Record.Version <= last.Record.Version {
		i.t.Errorf("after version %d a swap to %d", last.Record.Version, swap.Record.Version)
	}
	if err := checkGroup(swap.New); err != nil {
		i.t.Error(err)
	}
	if last.New != nil {
		changed := 0
		for c := range swap.Changes() {
			was, _ := swap.Old.Get(c.Key)
			is, _ := swap.New.Get(c.Key)
			if c.Op != snapshot.Changed || string(was) != string(c.Old) || string(is) != string(c.New) {
				i.t.Errorf("version %d: %v of %s from %s to %s", swap.Record.Version, c.Op, c.Key, c.Old, c.New)
			}
			changed++
		}
		if changed != len(group) {
			i.t.Errorf("from version %d to %d %d records changed", last.Record.Version, swap.Record.Version, changed)
		}
	}
	if i.handle.Swap(swap.New) != swap.Old {
		i.t.Error("a swap came between two others")
	}
	*last = swap
}

// settled waits until all readers of the instance are at the version and the cache folder has it.
func (i *watched) settled(rec dataset.VersionRecord) {
	i.t.Helper()
	await(i.t, rec.ID(), func() bool {
		tab := handle(i.s, "prices").Table()
		return tab.Version() == rec.Version && i.handle.Load() == tab && i.eager.Version() == rec.Version
	})
	await(i.t, "the cache folder to have "+rec.ID(), func() bool {
		drafts, err := filepath.Glob(filepath.Join(i.dir, "prices", "new-*.tmp"))
		return err == nil && len(drafts) == 0
	})
	if tab := handle(i.s, "prices").Table(); tab.State() != rec.State {
		i.t.Errorf("the last version served has the state %s, the one committed %s", tab.State(), rec.State)
	}
}

// Invariants, while a thousand versions are published as fast as possible and instances are read continuously: every
// reader of every kind sees only committed versions, each as a whole, and never an earlier one after
// a later. All settle on the last. Swaps chain up. Eager views decode what changed and no more. Goroutines and
// descriptors do not grow.
func TestReadersInABurst(t *testing.T) {
	const instances, records = 3, 2000
	versions := uint64(1000)
	if testing.Short() {
		versions = 200
	}
	w := newWorkshop(t, records)
	w.first()
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	defer readers.Wait()
	var all []*watched
	for n := range instances {
		all = append(all, w.watch(reading, fmt.Sprint("i", n), &readers))
	}
	settle := func() {
		t.Helper()
		for _, i := range all {
			i.settled(w.last)
		}
	}
	w.patches(10) // connections are made, and pools filled
	settle()
	if _, err := program(); err != nil { // it takes a while to be built
		t.Fatal(err)
	}
	before := measure(t)
	began := time.Now()
	w.burst(w.last.Version+versions, pressing{Whole: 50, Compact: true})
	took := time.Since(began)
	settle()
	after := measure(t)
	stop()
	readers.Wait()

	for n, i := range all {
		refreshes, full := i.refreshes.Load(), i.full.Load()
		t.Logf("i%d: %d refreshes, %d of them full, %d reads; %d versions in %s", n, refreshes, full, i.reads.Load(), versions, took.Round(time.Millisecond))
		if refreshes > int64(w.last.Version) {
			t.Errorf("i%d: %d refreshes for %d versions", n, refreshes, w.last.Version)
		}
		// Of the first version every record is decoded, and of the others those that changed; after a full load the tables
		// are compared, so that it is the same.
		if d := i.decoded.Load(); d > records+int64(len(group))*refreshes {
			t.Errorf("i%d: the eager view decoded %d records in %d refreshes", n, d, refreshes)
		}
	}
	t.Logf("before %+v, after %+v", before, after)
	// Each instance has up to two connections to the relay, with three goroutines and two descriptors at their ends.
	if after.goroutines > before.goroutines+6*instances || after.descriptors > before.descriptors+4*instances {
		t.Errorf("%d goroutines and %d descriptors became %d and %d", before.goroutines, before.descriptors, after.goroutines, after.descriptors)
	}
}
