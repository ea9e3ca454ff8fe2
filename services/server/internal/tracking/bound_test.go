package tracking

import (
	"fmt"
	"testing"
)

// held returns the keys in the maps, each once for each client.
func held(tracker *Tracker) (n int64) {
	for _, d := range tracker.order {
		for i := range d.shards {
			for _, r := range d.shards[i].keys {
				n += r.len()
			}
		}
	}
	return n
}

// Past the bound a key falls out for each that comes in, and its clients have an invalidation of it.
func TestBound(t *testing.T) {
	const limit = 500
	tracker := newTracker(t, limit, "cities", "rules")
	var peers []*peer
	cached := make([]map[string]bool, 20)
	for i := range cached {
		p := connect(tracker)
		p.say("client tracking on")
		peers = append(peers, p)
		cached[i] = make(map[string]bool)
	}
	drop := func() {
		for i, p := range peers {
			for _, key := range p.take(t) {
				delete(cached[i], key)
			}
		}
	}
	for n := range 300 {
		for i, p := range peers {
			for _, key := range []string{fmt.Sprint("cities:", n), fmt.Sprint("rules:", n*i)} {
				p.read(key)
				cached[i][key] = true
				drop()
			}
		}
		sum := 0
		for _, c := range cached {
			sum += len(c)
		}
		if got := tracker.total.Load(); got > limit || got != held(tracker) || sum != int(got) {
			t.Fatalf("%d keys are tracked, %d held, %d cached; the limit is %d", got, held(tracker), sum, limit)
		}
	}
	if got := tracker.total.Load(); got < limit-int64(len(peers)) {
		t.Errorf("only %d keys are tracked", got)
	}
	if n := tracker.order[1].n.Load(); n < limit/10 {
		t.Errorf("rules has only %d of the tracked keys", n)
	}
}

// A client of which one key fits loses what it read before, and its last key may fall out at once.
func TestBoundOfOne(t *testing.T) {
	tracker := newTracker(t, 1, "cities")
	a := connect(tracker)
	a.say("client tracking on")
	a.read(numbered("cities:", 10)...)
	if got := a.take(t); len(got) != 9 || tracker.total.Load() != 1 {
		t.Errorf("%q were invalidated, %d are tracked", got, tracker.total.Load())
	}
}

// The keys of clients that leave, turn tracking off or have flushes do not stay.
func TestKeysOfClientsThatLeave(t *testing.T) {
	const limit = 1 << 20
	tracker := newTracker(t, limit, "cities")
	stays := connect(tracker)
	stays.say("client tracking on")
	stays.read(numbered("cities:", 100)...)
	for round := range 50 {
		for i := range 40 {
			p := connect(tracker)
			p.say("client tracking on")
			for _, key := range numbered("cities:", 100) {
				p.read(key, fmt.Sprint(key, "/", i))
			}
			if i%2 == 0 {
				p.say("client tracking off")
			}
			p.Close()
		}
		if n := tracker.total.Load(); n > 10_000 || n != held(tracker) {
			t.Fatalf("%d keys are tracked after round %d, %d are held", n, round, held(tracker))
		}
	}
	if tracker.active.Load() != 1 {
		t.Errorf("%d clients track", tracker.active.Load())
	}
	expect(t, stays)
	keys := numbered("", 100)
	changed(t, tracker, "cities", keys...)
	expect(t, stays, numbered("cities:", 100)...)
}

// A shard that becomes empty does not keep the memory of its keys.
func TestShardsShrink(t *testing.T) {
	tracker := newTracker(t, 1<<20, "cities")
	a := connect(tracker)
	a.say("client tracking on")
	keys := numbered("k", 50_000)
	for _, k := range keys {
		a.read("cities:" + k)
	}
	changed(t, tracker, "cities", keys[:49_900]...)
	for i := range tracker.order[0].shards {
		if sh := &tracker.order[0].shards[i]; sh.peak > 100 {
			t.Errorf("a shard with %d keys has the map of %d", len(sh.keys), sh.peak)
		}
	}
}
