package subscribe_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe"
)

// refreshing opens an instance and returns it with the events of its swaps.
func refreshing(t *testing.T, cfg subscribe.Config) (*subscribe.Subscriber, <-chan subscribe.Refresh) {
	t.Helper()
	refreshes := make(chan subscribe.Refresh, 2000)
	cfg.Observer.Swapped = func(r subscribe.Refresh) { refreshes <- r }
	cfg.Observer.Failed = func(f subscribe.Failure) { t.Errorf("version %d: %v", f.Record.Version, f.Err) }
	return open(t, cfg), refreshes
}

// asleep makes an instance serve the newest version, store it in its cache folder, and close. The configuration
// returned wakes it.
func (w *workshop) asleep() subscribe.Config {
	w.t.Helper()
	cfg := w.config("prices")
	cfg.CacheDir = w.t.TempDir()
	s, refreshes := refreshing(w.t, cfg)
	if r := <-refreshes; r.Record.Version != w.last.Version {
		w.t.Fatalf("version %d is served", r.Record.Version)
	}
	if err := s.Close(); err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// bytesOf returns the sum of the objects' bytes.
func bytesOf(objects []dataset.Object) (sum int64) {
	for _, o := range objects {
		sum += o.Bytes
	}
	return sum
}

// wakes starts an instance that slept since the version from. It serves that version at once, and the newest after one refresh.
func (w *workshop) wakes(cfg subscribe.Config, from uint64) subscribe.Refresh {
	w.t.Helper()
	pulls := w.relay.objects.Load()
	s, refreshes := refreshing(w.t, cfg)
	if r := <-refreshes; r.From != fleet.Cache || r.Record.Version != from || r.PulledBytes != 0 {
		w.t.Errorf("the instance began with %+v, want version %d from the cache", r, from)
	}
	r := <-refreshes
	if r.From != fleet.Relay || r.Record.Version != w.last.Version || r.Fallback != nil {
		w.t.Errorf("the refresh was %+v, want version %d", r, w.last.Version)
	}
	if tab := handle(s, "prices").Table(); tab.State() != w.last.State || checkGroup(tab) != nil {
		w.t.Errorf("version %d is not what was published: %v", tab.Version(), checkGroup(tab))
	}
	objects := int64(r.Deltas)
	if r.Full {
		objects++
	}
	if n := w.relay.objects.Load() - pulls; n != objects {
		w.t.Errorf("%d objects were pulled, want %d", n, objects)
	}
	if err := s.Close(); err != nil {
		w.t.Error(err)
	}
	if len(refreshes) > 0 {
		w.t.Errorf("there was another refresh: %+v", <-refreshes)
	}
	return r
}

// affordable checks that the records of the versions stay bounded when the newest has a chain of the maximum
// length.
func (w *workshop) affordable(t *testing.T) {
	event, err := dataset.EncodeEvent(w.last)
	if err != nil {
		t.Fatal(err)
	}
	// A NATS server refuses messages of more than 1 MiB by default.
	if t.Logf("the event has %d bytes", len(event)); len(event) > 64<<10 {
		t.Errorf("the event has %d bytes", len(event))
	}
	if known, err := w.log.Latest(t.Context(), []string{"prices"}); err != nil || known["prices"].State != w.last.State {
		t.Errorf("the event log knows %s: %v", known["prices"].ID(), err)
	}

	keys, err := w.rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, key := range keys {
		n, err := w.rdb.MemoryUsage(t.Context(), key, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		bytes += n
	}
	// The limit that package catalog promises.
	if t.Logf("the catalog has %d bytes", bytes); bytes > 64<<10 {
		t.Errorf("the catalog has %d bytes", bytes)
	}
	if rec, err := catalog.New(w.rdb, "").Latest(t.Context(), "prices"); err != nil || len(rec.Deltas) != len(w.last.Deltas) {
		t.Errorf("the catalog has %s with %d deltas: %v", rec.ID(), len(rec.Deltas), err)
	}

	relays, err := pull.New(pull.Config{Relays: []string{w.relay.url}})
	if err != nil {
		t.Fatal(err)
	}
	defer relays.Close()
	if rec, err := relays.Latest(t.Context(), "prices"); err != nil || len(rec.Deltas) != len(w.last.Deltas) {
		t.Errorf("the relay answers %s with %d deltas: %v", rec.ID(), len(rec.Deltas), err)
	}
}

// Versions that arrive faster than they can be pulled are skipped: one refresh runs at a time, each to the newest version.
func TestBurstOfDeltasCollapses(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	r := rand.New(rand.NewPCG(7, 7))
	w.announce(p.commit(big(r, 600), true, 0))
	s, refreshes := refreshing(t, w.config("prices"))
	<-refreshes

	var at, most atomic.Int64
	began, gate := make(chan bool, 1000), make(chan bool)
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		n := at.Add(1)
		defer at.Add(-1)
		if n > most.Load() {
			most.Store(n)
		}
		began <- true
		<-gate
		if err := w.relay.object(rw, q); err != nil {
			t.Error(err)
		}
		return true
	})
	next := func() { w.announce(p.commit(mutate(r, p.content), false, 64)) }
	next()
	<-began
	for range 30 {
		next()
	}
	close(gate)
	// One refresh is for the first version, one for the newest version after it, and there is one more if the last
	// event arrived late.
	deltas, bytes, times := 0, int64(0), uint64(0)
	for version := uint64(1); version < p.last.Version; {
		got := <-refreshes
		if got.Full || got.Deltas != int(got.Record.Version-version) || times == 0 && got.Deltas != 1 {
			t.Errorf("after version %d the refresh was %+v", version, got)
		}
		version, times = got.Record.Version, times+1
		deltas, bytes = deltas+got.Deltas, bytes+got.PulledBytes
	}
	if times > 3 || deltas != 31 || bytes != bytesOf(p.last.Deltas) {
		t.Errorf("%d refreshes by %d deltas of %d bytes", times, deltas, bytes)
	}
	if tab := handle(s, "prices").Table(); !maps.Equal(content(tab), p.content) {
		t.Errorf("version %d is not what was published", tab.Version())
	}
	if most.Load() != 1 {
		t.Errorf("%d objects were pulled at a time", most.Load())
	}
	if d := statusOf(t, s, "prices"); d.Refreshes.Delta != times || d.Refreshes.Full != 1 {
		t.Errorf("the status is %+v", d)
	}
}

// An instance that can load deltas or a snapshot pulls the one with fewer bytes.
func TestFewerBytesArePulled(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(8, 8))
	p := &pipeline{w: w, name: "prices"}
	w.announce(p.commit(big(r, 40), true, 0))
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	s, refreshes := refreshing(t, cfg)
	<-refreshes
	dear := false
	for n := range 8 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		from := p.last.Version
		for range n + 1 {
			p.commit(mutate(r, p.content), n%2 == 0, 64)
		}
		w.announce(p.last)
		s, refreshes = refreshing(t, cfg)
		<-refreshes // from the cache
		got := <-refreshes
		lacking := p.last.Deltas[uint64(len(p.last.Deltas))-(p.last.Version-from):]
		whole := append([]dataset.Object{p.last.Snapshot}, p.last.Deltas[uint64(len(p.last.Deltas))-(p.last.Version-p.last.Snapshot.Version):]...)
		want := min(bytesOf(lacking), bytesOf(whole))
		if got.PulledBytes != want || got.Full != (bytesOf(whole) <= bytesOf(lacking)) {
			t.Errorf("from version %d the refresh was %+v; the deltas have %d bytes, the snapshot and those from it %d", from, got, bytesOf(lacking), bytesOf(whole))
		}
		if !maps.Equal(content(handle(s, "prices").Table()), p.content) {
			t.Error(fmt.Sprint(p.last.ID(), " is not what was published"))
		}
		dear = dear || got.Full
	}
	if !dear {
		t.Error("the snapshot was never the fewer bytes")
	}
}
