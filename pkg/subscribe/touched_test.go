package subscribe_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"freshet.dev/pkg/subscribe"
)

// A record that changes and changes back while a callback runs is in Touched of the merged swap, and not in its Changes.
func TestTouchedHasWhatChangedBack(t *testing.T) {
	w := newWorld(t)
	p := &pipeline{w: w, name: "prices"}
	first := big(rand.New(rand.NewPCG(1, 2)), 2000)
	w.announce(p.commit(first, true, 0))
	s := open(t, w.config("prices"))
	gate, swaps := make(chan struct{}), make(chan subscribe.Swap, 10)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { swaps <- swap; <-gate }); err != nil {
		t.Fatal(err)
	}
	if keys, ok := (<-swaps).Touched(); ok || keys != nil {
		t.Error("the first swap knows its keys")
	}
	away := maps.Clone(first)
	away["key1"] = "for a short time"
	back := maps.Clone(first)
	back["key2"] = "new"
	for i, content := range []records{away, back} {
		w.announce(p.commit(content, false, 9))
		await(t, "the version", func() bool { return handle(s, "prices").Table().Version() == uint64(i+2) })
	}
	close(gate)
	merged := <-swaps
	keys, ok := merged.Touched()
	if !ok {
		t.Fatalf("the swap is %+v", merged)
	}
	var touched, changed []string
	for key := range keys {
		touched = append(touched, string(key))
	}
	for c := range merged.Changes() {
		changed = append(changed, string(c.Key))
	}
	slices.Sort(touched)
	if !slices.Equal(slices.Compact(touched), []string{"key1", "key2"}) || !slices.Equal(changed, []string{"key2"}) {
		t.Errorf("touched %q, changed %q", touched, changed)
	}
}
