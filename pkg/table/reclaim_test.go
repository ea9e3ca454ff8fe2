package table

import (
	"fmt"
	"runtime"
	"testing"
)

// TestReplacedIsWhatIsNotShared changes more and more of a table: what the versions do not share grows with it, up to all
// of the old one.
func TestReplacedIsWhatIsNotShared(t *testing.T) {
	m := numberedRecords(20_000, 100)
	base := tableOf(t, m)
	before := int64(0)
	for _, n := range []int{0, 1, 10, 100, 1000, 20_000} {
		changes := make(map[string][]byte)
		for i := range max(n, 1) {
			key := fmt.Sprintf("key-%d", i)
			if changes[key] = m[key]; n > 0 {
				changes[key] = fmt.Appendf(nil, "%0100d", i)
			}
		}
		next, c, err := apply(t.Context(), base, deltaOf(t, testSeed, m, changes), Config{})
		if err != nil {
			t.Fatal(err)
		}
		if next.Len() != base.Len() {
			t.Fatalf("%d records of %d", next.Len(), base.Len())
		}
		got := c.Replaced()
		// Beside the table it took the decoded delta: some 150 bytes a change, and at least one block of room.
		working := int64(n)*200 + 1024
		most := map[int]int64{0: 0, 1: 8 << 10, 10: 80 << 10, 100: base.Bytes() / 5, 1000: base.Bytes() / 5, 20_000: base.Bytes()}[n]
		if got <= before || got > most+working {
			t.Errorf("%d changes replace %d bytes of %d; %d changes less replaced %d", n, got, base.Bytes(), n, before)
		}
		if n == 20_000 && got < base.Bytes()*9/10 {
			t.Errorf("all records changed, and only %d bytes of %d are said to be replaced", got, base.Bytes())
		}
		before = got

		again, d, err := apply(t.Context(), next, deltaOf(t, testSeed, changedBy(m, changes), changes), Config{})
		if err != nil {
			t.Fatal(err)
		}
		if again.State() != next.State() || c.Then(d).Replaced() != c.Replaced()+d.Replaced() {
			t.Errorf("two deltas replace %d bytes, the first %d, the second %d", c.Then(d).Replaced(), c.Replaced(), d.Replaced())
		}
	}
}

// TestReclaimerTellsWhatIsWorthIt asks a Reclaimer whether to collect what is replaced bit by bit.
func TestReclaimerTellsWhatIsWorthIt(t *testing.T) {
	held := make([]byte, 400<<20) // of which a twentieth is 20 MiB
	runtime.GC()
	var r Reclaimer
	for i, step := range []struct {
		bytes, tables int64
		want          bool
	}{
		{6 << 20, 390 << 20, false}, // over the least, but too little for such a heap
		{6 << 20, 390 << 20, false},
		{40 << 20, 100 << 20, false}, // most of the heap is not tables
		{1, 390 << 20, true},         // with those before
		{6 << 20, 390 << 20, false},  // a new count
		{40 << 20, 390 << 20, true},
		{60 << 20, 150 << 20, true}, // with what is replaced tables are the larger part
	} {
		if got := r.Replaced(step.bytes, step.tables); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	runtime.KeepAlive(held)
}

// TestReclaimerForgetsWhatWasCollected lets the collector come round between two calls.
func TestReclaimerForgetsWhatWasCollected(t *testing.T) {
	held := make([]byte, 400<<20)
	runtime.GC()
	var r Reclaimer
	for range 10 {
		if r.Replaced(15<<20, 400<<20) {
			t.Error("a collection is due although there was one since the memory before was replaced")
		}
		runtime.GC()
	}
	runtime.KeepAlive(held)
}
