package subscribe_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
)

// content returns the records of a table.
func content(tab *table.Table) records {
	all := records{}
	for k, v := range tab.All() {
		all[string(k)] = string(v)
	}
	return all
}

// big is a first version large enough that deltas of a few records are fewer bytes.
func big(r *rand.Rand, n int) records {
	all := records{}
	for i := range n {
		all[fmt.Sprintf("key%d", i)] = fmt.Sprint(r.Uint64(), r.Uint64())
	}
	return all
}

// mutate returns content with a few random changes.
func mutate(r *rand.Rand, old records) records {
	next := maps.Clone(old)
	for range 1 + r.IntN(5) {
		key := fmt.Sprintf("key%d", r.IntN(250))
		if r.IntN(3) == 0 {
			delete(next, key)
		} else {
			next[key] = fmt.Sprint(r.Uint64())
		}
	}
	if r.IntN(4) == 0 {
		return maps.Clone(old) // a version without a change
	}
	return next
}

// mirror follows a dataset by the changes of its swaps only.
type mirror struct {
	t       *testing.T
	mu      sync.Mutex
	all     records
	version uint64
	full    int
	delta   int
}

func (m *mirror) swap(s subscribe.Swap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Full {
		m.full++
	} else {
		m.delta++
	}
	if m.all == nil {
		m.all = records{}
	}
	for c := range s.Changes() {
		old, had := m.all[string(c.Key)]
		switch {
		case (c.Op == snapshot.Added) == had, had && old != string(c.Old):
			m.t.Errorf("version %d: %v of %s from %q, and it was %q (%v)", s.Record.Version, c.Op, c.Key, c.Old, old, had)
		}
		if c.Op == snapshot.Removed {
			delete(m.all, string(c.Key))
		} else {
			m.all[string(c.Key)] = string(c.New)
		}
	}
	if !maps.Equal(m.all, content(s.New)) {
		m.t.Errorf("version %d: the changes from version %v lead elsewhere", s.Record.Version, m.version)
	}
	m.version = s.Record.Version
}

func (m *mirror) at() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// Invariant: for any sequence of versions, in bursts or one by one, with new snapshots or without, with damage in transit, and
// across restarts from the cache folder, the served records equal a map with the same operations applied, and so do
// mirrors that follow the changes, and eager views.
func TestServedEqualsTheMap(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for n := range seeds {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			w := newWorld(t)
			p := &pipeline{w: w, name: "prices"}
			cfg := w.config("prices")
			cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
			var m *mirror
			var s *subscribe.Subscriber
			var view *subscribe.View[string]
			start := func() {
				m = &mirror{t: t}
				s = open(t, cfg)
				if _, err := handle(s, "prices").OnSwap(m.swap); err != nil {
					t.Fatal(err)
				}
				var err error
				view, err = subscribe.NewView(handle(s, "prices"), func(_, v []byte) (string, error) { return string(v), nil }, subscribe.Eager())
				if err != nil {
					t.Fatal(err)
				}
			}
			w.announce(p.commit(big(r, 200), true, 0))
			start()
			for range 40 {
				for range 1 + r.IntN(4)*r.IntN(2) { // often a burst
					rec := p.commit(mutate(r, p.content), r.IntN(8) == 0, r.IntN(20))
					if r.IntN(5) == 0 && len(rec.Deltas) > 0 { // its delta is damaged at first
						w.damageOnce(r, rec.Deltas[len(rec.Deltas)-1])
					}
					w.announce(rec)
				}
				version := p.last.Version
				if r.IntN(4) > 0 {
					await(t, fmt.Sprintf("version %d", version), func() bool { tab := handle(s, "prices").Table(); return tab != nil && tab.Version() == version })
					if !maps.Equal(content(handle(s, "prices").Table()), p.content) || handle(s, "prices").Table().State() != p.last.State {
						t.Fatalf("version %d is not served as it was published", version)
					}
				}
				if r.IntN(6) == 0 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					start()
					if tab := handle(s, "prices").Table(); tab != nil && !maps.Equal(content(tab), p.history[tab.Version()-1]) {
						t.Fatalf("after a restart version %d is not what was published", tab.Version())
					}
				}
			}
			version := p.last.Version
			await(t, "the mirror", func() bool { return m.at() == version })
			await(t, "the view", func() bool { return view.Version() == version })
			if !maps.Equal(m.all, p.content) {
				t.Error("the mirror differs")
			}
			for i := range 250 {
				key := fmt.Sprintf("key%d", i)
				got, ok, err := view.Get(key)
				want, has := p.content[key]
				if got != want || ok != has || err != nil {
					t.Fatalf("the view has %q, %v, %v for %s; want %q, %v", got, ok, err, key, want, has)
				}
			}
		})
	}
}

// damageOnce flips a bit of the object in the relay's next answer.
func (w *world) damageOnce(r *rand.Rand, o dataset.Object) {
	at, bit := r.IntN(int(o.Bytes)), byte(1)<<r.IntN(8)
	var once sync.Once
	damaged := w.damaged(o.Digest, func(b []byte) []byte {
		once.Do(func() { b = bytes.Clone(b); b[at] ^= bit })
		return b
	})
	w.relay.fail(damaged)
}

// A version with few changed records costs their bytes, and the reports say so.
func TestDeltaIsPulledAloneAndReported(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	p := &pipeline{w: w, name: "prices"}
	refreshes := make(chan subscribe.Refresh, 10)
	cfg := w.config("prices")
	cfg.Observer.Swapped = func(r subscribe.Refresh) { refreshes <- r }
	w.announce(p.commit(big(r, 2000), true, 0))
	s := open(t, cfg)
	if first := <-refreshes; !first.Full || first.PulledBytes != p.last.Snapshot.Bytes {
		t.Fatalf("the first refresh was %+v", first)
	}
	p.commit(mutate(r, p.content), false, 9)
	p.commit(mutate(r, p.content), true, 9)
	rec := p.commit(mutate(r, p.content), true, 9) // with a snapshot, which is not needed
	w.announce(rec)
	got := <-refreshes
	want := rec.Deltas[0].Bytes + rec.Deltas[1].Bytes + rec.Deltas[2].Bytes
	if got.Full || got.Deltas != 3 || got.PulledBytes != want || got.Fallback != nil {
		t.Errorf("the refresh was %+v, want 3 deltas of %d bytes", got, want)
	}
	d := statusOf(t, s, "prices")
	if d.Refreshes.Full != 1 || d.Refreshes.Delta != 1 || d.LastPull.Full || d.LastPull.Deltas != 3 {
		t.Errorf("the status is %+v", d)
	}
}

// The snapshot replaces deltas that cannot lead to the version or that no relay has.
func TestDeltasAreGivenUpForTheSnapshot(t *testing.T) {
	for name, spoil := range map[string]func(w *world, p *pipeline, rec *dataset.VersionRecord){
		"another base": func(w *world, p *pipeline, rec *dataset.VersionRecord) {
			o := w.put(buildDelta(w.t, records{"a": "1"}, records{"a": "2"}))
			o.Version = rec.Version
			rec.Deltas[len(rec.Deltas)-1] = o
		},
		"not at the relay": func(w *world, _ *pipeline, rec *dataset.VersionRecord) {
			rec.Deltas[len(rec.Deltas)-1].Digest[0]++
		},
		"damaged for good": func(w *world, _ *pipeline, rec *dataset.VersionRecord) {
			w.relay.fail(w.damaged(rec.Deltas[len(rec.Deltas)-1].Digest, func(b []byte) []byte { b[len(b)/2] ^= 4; return b }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := rand.New(rand.NewPCG(3, 3))
			p := &pipeline{w: w, name: "prices"}
			refreshes := make(chan subscribe.Refresh, 10)
			book := &logbook{}
			cfg := w.config("prices")
			cfg.Log = book.logger()
			cfg.Observer.Swapped = func(r subscribe.Refresh) { refreshes <- r }
			w.announce(p.commit(big(r, 2000), true, 0))
			s := open(t, cfg)
			<-refreshes
			rec := p.commit(mutate(r, p.content), true, 9)
			spoil(w, p, &rec)
			w.announce(rec)
			got := <-refreshes
			if !got.Full || !maps.Equal(content(handle(s, "prices").Table()), p.content) {
				t.Errorf("the refresh was %+v", got)
			}
			if got.Fallback == nil || !strings.Contains(got.Fallback.Error(), "delta to version 2") || !book.has("deltas did not lead to a version") {
				t.Errorf("the refresh fell back to the snapshot because of %v", got.Fallback)
			}
			if d := statusOf(t, s, "prices"); d.Refreshes.Fallbacks != 1 || d.LastPull.Fallback == "" {
				t.Errorf("the status is %+v", d)
			}
		})
	}
}

// The cache folder stays bounded while only deltas arrive, and a restart from it needs no server.
func TestCachedDeltasAreShortened(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(4, 4))
	p := &pipeline{w: w, name: "prices"}
	cfg := w.config("prices")
	cfg.CacheDir = t.TempDir()
	w.announce(p.commit(big(r, 200), true, 0))
	s := open(t, cfg)
	for range 60 {
		rec := p.commit(mutate(r, p.content), false, 64)
		w.announce(rec)
		await(t, rec.ID(), func() bool { tab := handle(s, "prices").Table(); return tab != nil && tab.Version() == rec.Version })
	}
	await(t, "the folder to be bounded", func() bool {
		var snapshots, all int64
		for _, path := range files(t, cfg.CacheDir) {
			info, err := os.Stat(path)
			if err == nil && strings.HasSuffix(path, ".object") {
				all += info.Size()
				snapshots = max(snapshots, info.Size())
			}
		}
		return all <= snapshots*8/5
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.down()
	s = open(t, cfg)
	if err := s.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	if tab := handle(s, "prices").Table(); tab.Version() != p.last.Version || !maps.Equal(content(tab), p.content) {
		t.Errorf("version %d came from the cache folder, want %d", tab.Version(), p.last.Version)
	}
}

// Versions that arrive while a callback runs are passed on together, by the changes of their deltas; a full load between them
// makes it a comparison. A callback that panicked gets the same versions again.
func TestChangesOfVersionsThatWerePassedOver(t *testing.T) {
	for name, full := range map[string]bool{"deltas only": false, "a full load between": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := rand.New(rand.NewPCG(6, 6))
			p := &pipeline{w: w, name: "prices"}
			w.announce(p.commit(big(r, 2000), true, 0))
			s := open(t, w.config("prices"))
			m := &mirror{t: t}
			began, gate := make(chan bool, 10), make(chan bool)
			calls := 0
			if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) {
				began <- swap.Full
				<-gate
				if calls++; calls == 2 {
					panic("once")
				}
				m.swap(swap)
			}); err != nil {
				t.Fatal(err)
			}
			<-began
			next := func(keep int, snapshot bool) {
				w.announce(p.commit(mutate(r, p.content), snapshot, keep))
				await(t, "a version", func() bool { return handle(s, "prices").Table().Version() == p.last.Version })
			}
			for i := range 5 {
				if full && i == 2 {
					next(0, true)
				} else {
					next(9, false)
				}
			}
			gate <- true
			if <-began != full {
				t.Errorf("the swap says Full %v", !full)
			}
			next(9, false)
			gate <- true // it panics, and is called for the newest
			if <-began != full {
				t.Errorf("after a panic the swap says Full %v", !full)
			}
			gate <- true
			await(t, "the mirror", func() bool { return m.at() == 7 })
			if !maps.Equal(m.all, p.content) {
				t.Error("the mirror differs")
			}
			close(gate)
		})
	}
}

// An eager view decodes the changed records, and continues after records for which its function panics.
func TestEagerViewDecodesWhatChanged(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	r := rand.New(rand.NewPCG(5, 5))
	first := big(r, 2000)
	w.announce(p.commit(first, true, 0))
	s := open(t, w.config("prices"))
	var mu sync.Mutex
	calls := 0
	view, err := subscribe.NewView(handle(s, "prices"), func(key, v []byte) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		if string(v) == "bad" {
			panic("no such price")
		}
		return string(v), nil
	}, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	next := maps.Clone(first)
	next["key1"], next["key2"] = "new", "bad"
	delete(next, "key3")
	w.announce(p.commit(next, false, 9))
	await(t, "the view to go on", func() bool { return view.Version() == 2 })
	if calls != 2002 {
		t.Errorf("%d records were decoded, want 2002", calls)
	}
	if v, ok, err := view.Get("key1"); v != "new" || !ok || err != nil {
		t.Errorf("key1 is %q, %v, %v", v, ok, err)
	}
	if _, ok, err := view.Get("key2"); !ok || err == nil || !strings.Contains(err.Error(), `decode record "key2" of prices/2: panic: no such price`) {
		t.Errorf("key2 is %v, %v", ok, err)
	}
	if _, ok, _ := view.Get("key3"); ok {
		t.Error("key3 is still there")
	}
	if handle(s, "prices").Table().Version() != 2 {
		t.Error("serving stopped")
	}
}
