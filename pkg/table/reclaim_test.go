package table

import (
	"fmt"
	"runtime"
	"testing"
)

// TestReplacedCountsUnsharedBytes changes more and more of a table: the bytes that the versions do not share grow with it, up
// to the whole old table.
func TestReplacedCountsUnsharedBytes(t *testing.T) {
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
		// Replaced includes the decoded delta: some 150 bytes a change, and at least the memory of one block.
		working := int64(n)*200 + 1024
		most := map[int]int64{0: 0, 1: 8 << 10, 10: 80 << 10, 100: base.Bytes() / 5, 1000: base.Bytes() / 5, 20_000: base.Bytes()}[n]
		if got <= before || got > most+working {
			t.Errorf("%d changes replace %d bytes of %d; %d changes less replaced %d", n, got, base.Bytes(), n, before)
		}
		if n == 20_000 && got < base.Bytes()*9/10 {
			t.Errorf("all records changed, and Replaced returns only %d of %d bytes", got, base.Bytes())
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

// TestReclaimerReportsWorthwhileCollections replaces memory step by step and checks when a Reclaimer reports a collection as due.
func TestReclaimerReportsWorthwhileCollections(t *testing.T) {
	held := make([]byte, 400<<20) // a twentieth of it is 20 MiB
	runtime.GC()
	var r Reclaimer
	for i, step := range []struct {
		bytes, tables int64
		want          bool
	}{
		{6 << 20, 390 << 20, false}, // over the minimum, but too little for such a heap
		{6 << 20, 390 << 20, false},
		{40 << 20, 100 << 20, false}, // most of the heap is not tables
		{1, 390 << 20, true},         // together with the calls before
		{6 << 20, 390 << 20, false},  // a new count
		{40 << 20, 390 << 20, true},
		{60 << 20, 150 << 20, true}, // with the replaced bytes, tables are the larger part
	} {
		if got := r.Replaced(step.bytes, step.tables); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	runtime.KeepAlive(held)
}

// TestReclaimerForgetsCollectedMemory runs the collector between two calls.
func TestReclaimerForgetsCollectedMemory(t *testing.T) {
	held := make([]byte, 400<<20)
	runtime.GC()
	var r Reclaimer
	for range 10 {
		if r.Replaced(15<<20, 400<<20) {
			t.Error("a collection is due although one has run since the memory was replaced")
		}
		runtime.GC()
	}
	runtime.KeepAlive(held)
}
