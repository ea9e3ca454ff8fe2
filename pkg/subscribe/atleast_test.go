package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe"
)

// versionOf answers for the record of one version.
func (r *relay) versionOf(w http.ResponseWriter, q *http.Request) error {
	var name string
	var version uint64
	if _, err := fmt.Sscanf(strings.ReplaceAll(q.URL.Path, "/", " "), " v1 datasets %s versions %d", &name, &version); err != nil {
		return err
	}
	rec, err := r.store.Version(q.Context(), name, version)
	if err != nil {
		return err
	}
	text, err := rec.Encode()
	if err != nil {
		return err
	}
	_, _ = w.Write(text)
	return nil
}

// chained commits and announces a version whose record names the version before.
func (w *world) chained(name string, before dataset.VersionRecord) dataset.VersionRecord {
	w.t.Helper()
	id, err := w.store.EnsureID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	rec := w.commitAs(name, before.Version+1, numbered(before.Version+1), func(rec *dataset.VersionRecord) {
		rec.StoreID = id
		if before.Version > 0 {
			rec.Previous = before.VersionID()
		}
	})
	w.announce(rec)
	return rec
}

// A wait for a version ends with the swap, for all that wait, and lookups then see the version. A version that is in the history of the
// served one needs no wait, however far back.
func TestWaitVersion(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	one := w.chained("prices", dataset.VersionRecord{Dataset: "prices"})
	if err := s.WaitVersion(w.context(), one.Token()); err != nil {
		t.Fatal(err)
	}
	tab, id, err := prices.AtLeast(w.context(), one.Ref())
	if err != nil || tab.Version() != 1 || id != one.VersionID() || prices.Table() != tab {
		t.Errorf("%v, %s, %v", tab, id, err)
	}

	// The commit comes first, and the event when all wait.
	two := w.commitAs("prices", 2, numbered(2), func(rec *dataset.VersionRecord) { rec.StoreID, rec.Previous = one.StoreID, one.VersionID() })
	var waiters sync.WaitGroup
	for range 5 {
		waiters.Go(func() {
			tab, id, err := prices.AtLeast(w.context(), two.Ref())
			if err != nil || tab.Version() < 2 || id.IsZero() {
				t.Errorf("%v, %s, %v", tab, id, err)
			}
		})
	}
	w.announce(two)
	waiters.Wait()
	three := w.chained("prices", two)
	if err := prices.WaitVersion(w.context(), three.Ref()); err != nil {
		t.Fatal(err)
	}
	queries := w.relay.records.Load()
	if err := prices.WaitVersion(w.context(), two.Ref()); err != nil || w.relay.records.Load() != queries {
		t.Errorf("the version before: %v, and the relay got %d queries more", err, w.relay.records.Load()-queries)
	}
	// Version 3 does not name version 1. The relay does, once.
	for range 3 {
		if err := prices.WaitVersion(w.context(), one.Ref()); err != nil {
			t.Error(err)
		}
	}
	if n := w.relay.records.Load() - queries; n != 2 {
		t.Errorf("the relay got %d queries, want those of versions 1 and 3", n)
	}
}

// A version that does not come, or that is of another history or dataset, is an error that says so.
func TestWaitVersionFails(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	rec := w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)

	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var behind *subscribe.BehindError
	two := dataset.Ref{Version: 2, ID: dataset.VersionID{2}}
	err := prices.WaitVersion(soon, two)
	if !errors.As(err, &behind) || !errors.Is(err, context.DeadlineExceeded) || behind.Want != two || behind.Served != rec.Ref() ||
		!strings.Contains(err.Error(), "version 2 (020000000000) is not served yet, version 1 (") || !strings.Contains(err.Error(), "the dataset is ") {
		t.Errorf("error is %v", err)
	}

	var other *subscribe.HistoryError
	err = prices.WaitVersion(w.context(), dataset.Ref{Version: 1, ID: dataset.VersionID{9}})
	if !errors.As(err, &other) || !errors.Is(err, subscribe.ErrOtherHistory) || other.Stored != rec.Ref() || other.Served != rec.Ref() ||
		!strings.Contains(err.Error(), "version 1 (090000000000) is not in the history of the store, which has version 1 (") {
		t.Errorf("error is %v", err)
	}
	// Of a number that the store does not have yet, the wait ends when the store has it.
	failed := make(chan error, 1)
	go func() { failed <- prices.WaitVersion(w.context(), two) }()
	w.publish("prices", 2)
	if err := <-failed; !errors.Is(err, subscribe.ErrOtherHistory) {
		t.Errorf("error is %v", err)
	}

	if err := s.WaitVersion(w.context(), dataset.Token{Dataset: "rules", Ref: two}); !errors.Is(err, subscribe.ErrUnknownDataset) {
		t.Errorf("error is %v", err)
	}
	for _, ref := range []dataset.Ref{{}, {Version: 1}, {ID: dataset.VersionID{1}}} {
		if err := prices.WaitVersion(w.context(), ref); !errors.Is(err, subscribe.ErrVersionID) {
			t.Errorf("%+v: error is %v", ref, err)
		}
	}
}

// While the relays are down, a version that only they can vouch for is not vouched for. Close ends the waits.
func TestWaitVersionWithoutRelays(t *testing.T) {
	w := newWorld(t)
	s, err := subscribe.Open(t.Context(), w.config("prices"))
	if err != nil {
		t.Fatal(err)
	}
	one, prices := w.publish("prices", 1), handle(s, "prices")
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	w.relay.stop()
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = prices.WaitVersion(soon, one.Ref())
	if behind := (*subscribe.BehindError)(nil); !errors.As(err, &behind) || !strings.Contains(err.Error(), "the store's version 1 is not known") {
		t.Errorf("error is %v", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- prices.WaitVersion(w.context(), one.Ref()) }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, subscribe.ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

// A wait for a version that deletes the dataset ends without a table, if there was none.
func TestWaitVersionThatDeletes(t *testing.T) {
	w := newWorld(t)
	w.commit("prices", 1, numbered(1))
	rec := w.delete(2, false)
	s := open(t, w.config("prices"))
	tab, id, err := handle(s, "prices").AtLeast(w.context(), rec.Ref())
	if err != nil || tab != nil || id != rec.VersionID() {
		t.Errorf("%v, %s, %v", tab, id, err)
	}
}

// A version that is served already costs no allocation, and the state of the dataset is that of the status.
func TestCostOfAtLeast(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	one := w.chained("prices", dataset.VersionRecord{Dataset: "prices"})
	two := w.chained("prices", one)
	if err := prices.WaitVersion(w.context(), two.Ref()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []dataset.Ref{one.Ref(), two.Ref()} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = prices.AtLeast(context.Background(), want) }); n != 0 {
			t.Errorf("AtLeast of version %s allocates %v times", want, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { prices.State() }); n != 0 {
		t.Errorf("State allocates %v times", n)
	}
	await(t, "the states to agree", func() bool { return prices.State() == prices.Status().State })
}

// BenchmarkState compares what a lookup over HTTP does in addition to that in the table: the state with and without the rest of the status, and
// a wait for a version that is served.
func BenchmarkState(b *testing.B) {
	relay := relayWithPrices()
	defer relay.Close()
	sub, err := subscribe.Open(b.Context(), subscribe.Config{NATS: natsURL, Relays: []string{relay.URL}, Datasets: []string{"prices"}})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	prices := handle(sub, "prices")
	b.Run("state", func(b *testing.B) {
		for b.Loop() {
			prices.State()
		}
	})
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			_ = prices.Status().State
		}
	})
	rec, _ := prices.Version()
	ref := rec.Ref()
	b.Run("at least", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := prices.AtLeast(b.Context(), ref); err != nil {
				b.Fatal(err)
			}
		}
	})
}
