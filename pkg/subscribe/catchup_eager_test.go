package subscribe_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/subscribe"
)

// Eager views decode on as many goroutines at a time as there are lanes, each record of the first version once, and of
// the others those that changed: by a delta, by several at once, and when the version was loaded as a whole.
func TestEagerViewsDecodeOnTheLanes(t *testing.T) {
	const lanes, records = 2, 300
	w := newWorld(t)
	var names []string
	var pipelines []*pipeline
	for n := range 3 * lanes {
		p := &pipeline{w: w, name: fmt.Sprint("prices", n)}
		names, pipelines = append(names, p.name), append(pipelines, p)
		w.announce(p.commit(big(rand.New(rand.NewPCG(1, uint64(n))), records), true, 0))
	}
	cfg := w.config(names...)
	cfg.Lanes = lanes
	s := open(t, cfg)
	if err := s.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan bool)
	let := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(let) // before the subscriber is closed
	var decoding, most, decoded atomic.Int64
	decode := func(_, value []byte) (string, error) {
		if n := decoding.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-gate
		decoding.Add(-1)
		decoded.Add(1)
		return string(value), nil
	}
	var views []*subscribe.View[string]
	for _, name := range names {
		view, err := subscribe.NewView(handle(s, name), decode, subscribe.Eager())
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, view)
	}
	settle := func(what string, want int64) {
		t.Helper()
		for n, p := range pipelines {
			await(t, p.last.ID(), func() bool { return views[n].Version() == p.last.Version })
		}
		if got := decoded.Swap(0); got != want {
			t.Errorf("%s: %d records were decoded, want %d", what, got, want)
		}
	}
	await(t, "as many views as there are lanes to decode", func() bool { return decoding.Load() >= lanes })
	let()
	all := int64(len(names))
	settle("the first version", all*records)
	for _, next := range []struct {
		what     string
		versions int
		snapshot bool
		keep     int
	}{{"a delta", 1, false, 64}, {"five deltas", 5, false, 64}, {"a full load", 1, true, 0}, {"a full load of the fifth version", 5, true, 0}} {
		for _, p := range pipelines {
			for v := range next.versions {
				p.commit(withKey(withKey(p.content, "key1", fmt.Sprint(p.last.Version)), fmt.Sprint("key", 2+v), fmt.Sprint(p.last.Version)), next.snapshot, next.keep)
			}
			w.announce(p.last)
		}
		// One key is changed by every version, and another by each.
		settle(next.what, all*int64(1+next.versions))
	}
	for n, p := range pipelines {
		if v, ok, err := views[n].Get("key1"); v != p.content["key1"] || !ok || err != nil {
			t.Errorf("key1 of %s is %q, %v, %v", p.name, v, ok, err)
		}
	}
	if n := most.Load(); n > lanes {
		t.Errorf("%d views decoded at a time, the most is %d", n, lanes)
	}
}
