package tracking

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func expect(t *testing.T, p *peer, want ...string) {
	t.Helper()
	if got := p.take(t); !same(got, want) {
		t.Errorf("invalidated %q, want %q", got, want)
	}
}

func TestDefaultMode(t *testing.T) {
	tracker := newTracker(t, 100, "cities", "rules")
	a, b := connect(tracker), connect(tracker)
	a.read("cities:seoul") // before tracking
	a.say("client tracking on")
	b.say("client tracking on noloop")
	a.read("cities:busan", "cities:daegu", "rules:1", "cities:", "nocolon", "unknown:key", "cities:"+strings.Repeat("k", 1025))
	b.read("cities:busan")
	b.read("cities:busan")
	if n := tracker.total.Load(); n != 4 {
		t.Errorf("%d keys are tracked, want 4", n)
	}
	changed(t, tracker, "cities", "seoul", "busan", "daegu", "1")
	expect(t, a, "cities:busan", "cities:daegu")
	expect(t, b, "cities:busan")
	changed(t, tracker, "cities", "busan", "daegu") // until it is read again
	expect(t, a)
	a.read("cities:busan")
	changed(t, tracker, "cities", "busan")
	expect(t, a, "cities:busan")
	expect(t, b)
	a.say("client tracking off")
	changed(t, tracker, "rules", "1")
	expect(t, a)
	if a.Tracking() || !b.Tracking() || tracker.active.Load() != 1 {
		t.Error("the wrong client tracks")
	}
}

func TestOptinAndOptout(t *testing.T) {
	tracker := newTracker(t, 100, "cities")
	a, b := connect(tracker), connect(tracker)
	a.say("client tracking on optin")
	b.say("client tracking on optout")
	a.read("cities:1")
	b.read("cities:1")
	a.say("client caching yes")
	b.say("client caching no")
	a.read("cities:2", "cities:3")
	b.read("cities:2")
	a.read("cities:4")
	b.read("cities:4")
	changed(t, tracker, "cities", "1", "2", "3", "4")
	expect(t, a, "cities:2", "cities:3")
	expect(t, b, "cities:1", "cities:4")
}

func TestBcast(t *testing.T) {
	tracker := newTracker(t, 100, "cities", "cinemas", "rules")
	all, ci, some, two := connect(tracker), connect(tracker), connect(tracker), connect(tracker)
	all.say("client tracking on bcast")
	ci.say("client tracking on bcast prefix ci")
	some.say("client tracking on bcast prefix cities:ab prefix rules:")
	two.say("client tracking on bcast prefix cities:a")
	two.say("client tracking on bcast prefix cities:b")
	changed(t, tracker, "cities", "a", "abc", "b", "c")
	changed(t, tracker, "cinemas", "a")
	changed(t, tracker, "rules", "a")
	expect(t, all, "cities:a", "cities:abc", "cities:b", "cities:c", "cinemas:a", "rules:a")
	expect(t, ci, "cities:a", "cities:abc", "cities:b", "cities:c", "cinemas:a")
	expect(t, some, "cities:abc", "rules:a")
	expect(t, two, "cities:a", "cities:abc", "cities:b")
	tracker.Flush(t.Context(), "cities")
	for _, p := range []*peer{all, ci, some, two} {
		expect(t, p, "*")
	}
	tracker.Flush(t.Context(), "rules")
	expect(t, all, "*")
	expect(t, two)
	for _, p := range []*peer{all, ci, some} {
		p.Close()
	}
	two.say("client tracking off")
	for _, d := range tracker.order {
		if n := d.bcast.n.Load(); n != 0 || len(d.bcast.whole)+len(d.bcast.parts) > 0 {
			t.Errorf("%d prefixes of %s stay", n, d.prefix)
		}
	}
}

func TestFlushReachesReadersOfTheDataset(t *testing.T) {
	tracker := newTracker(t, 100, "cities", "rules")
	a, b, c := connect(tracker), connect(tracker), connect(tracker)
	for _, p := range []*peer{a, b, c} {
		p.say("client tracking on")
	}
	a.read("cities:1", "cities:2", "rules:1")
	b.read("rules:1")
	tracker.Flush(t.Context(), "cities")
	expect(t, a, "*")
	expect(t, b)
	expect(t, c)
	changed(t, tracker, "cities", "1")
	expect(t, a)
	changed(t, tracker, "rules", "1") // the client has dropped it; one more is allowed
	expect(t, a, "rules:1")
	expect(t, b, "rules:1")
}

// One push has a bounded number of keys, and a client that would have very many has a flush. It tracks again what it reads afterwards.
func TestLargeDelta(t *testing.T) {
	tracker := newTracker(t, 100_000, "cities")
	few, many, all := connect(tracker), connect(tracker), connect(tracker)
	few.say("client tracking on")
	many.say("client tracking on")
	all.say("client tracking on bcast prefix cities:k")
	keys := numbered("k", maxKeysASwap+500)
	for i, k := range keys {
		many.read("cities:" + k)
		if i < 1000 {
			few.read("cities:" + k)
		}
	}
	last := keys[len(keys)-1]
	tracker.Changed(t.Context(), "cities", func(yield func([]byte) bool) {
		for _, k := range keys {
			if k == last {
				many.read("cities:"+last, "cities:other")
			}
			yield([]byte(k))
		}
	})
	for _, push := range few.pushes {
		if n := len(invalidated(t, push)); n > maxKeysAPush {
			t.Errorf("a push has %d keys", n)
		}
	}
	if got := few.take(t); len(got) != 1000 {
		t.Errorf("%d keys were invalidated, want 1000", len(got))
	}
	got := many.take(t)
	if i := slices.Index(got, "*"); i < 0 || i > maxKeysASwap || !same(got[i+1:], []string{"cities:" + last}) {
		t.Errorf("%d invalidations with a flush at %d, then %q", len(got), i, got[i+1:])
	}
	if got := all.take(t); len(got) > maxKeysASwap+1 || got[len(got)-1] != "*" {
		t.Errorf("%d invalidations, then %q", len(got), got[len(got)-1])
	}
	changed(t, tracker, "cities", "other", "k0")
	expect(t, many, "cities:other")
	expect(t, all, "cities:k0") // its prefix is cities:k
}

// A key whose recording overlaps a flush in the middle of a swap is tracked after it.
func TestReadDuringFlush(t *testing.T) {
	tracker := newTracker(t, 1000, "cities")
	a := connect(tracker)
	a.say("client tracking on")
	w := a.watch.Load() // by a Read that goes on after the flush
	w.flush()
	w.flush() // has no effect: it has ended
	expect(t, a, "*")
	a.record(tracker.datasets["cities"], []byte("1"), w)
	changed(t, tracker, "cities", "1")
	expect(t, a, "cities:1")
}

// A walk that is cancelled ends with a flush.
func TestCancelledWalkFlushes(t *testing.T) {
	tracker := newTracker(t, 1000, "cities")
	a := connect(tracker)
	a.say("client tracking on")
	a.read("cities:z")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tracker.Changed(ctx, "cities", each(append(numbered("k", 100), "z")...))
	expect(t, a, "*")
}

// While no client tracks, no changes are walked; nor for a dataset that no client reads.
func TestNothingIsWalkedForNobody(t *testing.T) {
	tracker := newTracker(t, 100, "cities", "rules")
	never := func(func([]byte) bool) { t.Error("the changes are walked") }
	tracker.Changed(t.Context(), "cities", never)
	a := connect(tracker)
	a.say("client tracking on")
	a.read("rules:1")
	tracker.Changed(t.Context(), "cities", never)
	tracker.Changed(t.Context(), "unknown", never)
	tracker.Flush(t.Context(), "unknown")
	expect(t, a)
}

func TestSlowClientHasNothingMore(t *testing.T) {
	tracker := newTracker(t, 1000, "cities")
	slow, other := connect(tracker), connect(tracker)
	slow.limit = 1
	for _, p := range []*peer{slow, other} {
		p.say("client tracking on")
		p.read("cities:1", "cities:2", "cities:3")
	}
	for _, k := range []string{"1", "2", "3"} {
		changed(t, tracker, "cities", k)
	}
	expect(t, slow, "cities:1")
	changed(t, tracker, "cities", "1")
	slow.read("cities:4")
	changed(t, tracker, "cities", "4")
	expect(t, slow)
	expect(t, other, "cities:1", "cities:2", "cities:3")
}

// The commands of a client that goes back to RESP2 are not tracked.
func TestRESP2EndsTracking(t *testing.T) {
	tracker := newTracker(t, 100, "cities")
	a := connect(tracker)
	a.say("client tracking on")
	a.read("cities:1")
	a.proto.Store(2)
	a.Executed()
	if a.Tracking() {
		t.Error("the client still tracks")
	}
	changed(t, tracker, "cities", "1")
	expect(t, a)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	tracker, err := New(Config{Keys: 2}, Deps{Datasets: []string{"cities"}, Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("a tracker of no keys")
	}
	a := connect(tracker)
	a.say("client tracking on")
	a.read("cities:1", "cities:2", "cities:3")
	tracker.Flush(t.Context(), "cities")
	a.read("cities:1")
	want := `
# HELP freshet_resp_tracking_clients Clients that track keys or prefixes.
# TYPE freshet_resp_tracking_clients gauge
freshet_resp_tracking_clients 1
# HELP freshet_resp_tracking_evictions_total Keys invalidated because the most keys that may be tracked were tracked.
# TYPE freshet_resp_tracking_evictions_total counter
freshet_resp_tracking_evictions_total 1
# HELP freshet_resp_tracking_flushes_total Invalidations of all keys, each once for each client.
# TYPE freshet_resp_tracking_flushes_total counter
freshet_resp_tracking_flushes_total 1
# HELP freshet_resp_tracking_invalidations_total Keys invalidated, each once for each client.
# TYPE freshet_resp_tracking_invalidations_total counter
freshet_resp_tracking_invalidations_total 1
# HELP freshet_resp_tracking_keys Keys that clients track, each once for each client.
# TYPE freshet_resp_tracking_keys gauge
freshet_resp_tracking_keys 1
# HELP freshet_resp_tracking_keys_limit The most keys that clients may track together.
# TYPE freshet_resp_tracking_keys_limit gauge
freshet_resp_tracking_keys_limit 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
