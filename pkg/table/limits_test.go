//go:build !race

// These tests handle hundreds of megabytes, which takes minutes under -race: scripts/test runs them without.

package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// sameAsFresh fails unless tab holds the records of m, like a table loaded from a snapshot of m. hint is as for
// snapshotOf.
func sameAsFresh(t *testing.T, f fatal, tab *Table, m map[string][]byte, hint int64) {
	f.Helper()
	checkPartitions(f, tab)
	fresh, err := load(t, snapshotOf(t, testSeed, m, hint), Config{})
	if err != nil {
		f.Fatalf("load: %v", err)
	}
	if tab.State() != fresh.State() || tab.PayloadBytes() != fresh.PayloadBytes() || tab.Len() != len(m) {
		f.Fatalf("%d records, state %v; a fresh table has %d, %v", tab.Len(), tab.State(), fresh.Len(), fresh.State())
	}
	for key, value := range m {
		if got, ok := tab.GetString(key); !ok || !bytes.Equal(got, value) {
			f.Fatalf("key %.40q: %d bytes, %v; want %d", key, len(got), ok, len(value))
		}
	}
	for change := range Diff(tab, fresh) {
		f.Fatalf("key %.40q: %v in a fresh table", change.Key, change.Op)
	}
}

// lean makes the collector keep the memory of a test with large values small.
func lean(t *testing.T) {
	before := debug.SetMemoryLimit(400 << 20)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
}

// TestSmallTableAppliesAManyTimesLargerDelta reproduces a bug: 275 MiB of records for one small partition, in one delta and in
// two.
func TestSmallTableAppliesAManyTimesLargerDelta(t *testing.T) {
	lean(t)
	const records = 1100
	value := bytes.Repeat([]byte("0123456789abcdef"), 256<<10/16)
	for _, step := range []int{records, records / 2} {
		l := newLine(t, numberedRecords(180, 60))
		for from := 0; from < records; from += step {
			changes := make(map[string][]byte)
			for i := range step {
				changes[fmt.Sprintf("new-%d", from+i)] = value
			}
			l.step(changes)
		}
		l.check()
		if largest, _ := l.large(); largest > snapshot.MaxBlockRaw {
			t.Errorf("%d records at a time: a partition has %d bytes", step, largest)
		}
	}
}

// keysOf returns n keys whose hashes begin with the given bits, all 1.
func keysOf(n int, bits uint8) (keys []string) {
	var key [8]byte
	for i := uint64(0); len(keys) < n; i++ {
		binary.LittleEndian.PutUint64(key[:], i)
		if dataset.Hash(testSeed, key[:])>>(64-bits) == 1<<bits-1 {
			keys = append(keys, string(key[:]))
		}
	}
	return keys
}

// TestLongValuesOfSimilarHashes adds 300 MiB to one partition, at once and in parts, so that the average size does not
// show how many bits are necessary.
func TestLongValuesOfSimilarHashes(t *testing.T) {
	lean(t)
	const records, bits, wide = 300, 10, 384 << 10 << 14 // 14 bits
	keys := keysOf(records, bits)
	value := bytes.Repeat([]byte("0123456789abcdef"), dataset.MaxValueBytes/16)
	for _, part := range []int{records, 70} {
		l := newLine(t, numberedRecords(200, 10))
		for from := 0; from < records; from += part {
			changes := make(map[string][]byte)
			for _, key := range keys[from:min(from+part, records)] {
				changes[key] = value
			}
			base := l.tab.State()
			file := writeDelta(t, testSeed, changes, base, stateAfter(testSeed, base, l.m, changes), wide)
			tab, _, err := apply(t.Context(), l.tab, file, Config{Version: l.tab.Version() + 1})
			if err != nil {
				t.Fatalf("%d records at a time, from %d on: %v", part, from, err)
			}
			l.tab, l.m = tab, changedBy(l.m, changes)
		}
		l.check()
		if len(l.tab.partitions) > 1<<14 {
			t.Errorf("%d directory entries", len(l.tab.partitions))
		}
	}
}

// TestFit has records that fit after splits, that fit only as a group of their own, and that no table can hold.
func TestFit(t *testing.T) {
	record := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		records int
		bits    uint8 // the number of bits that the hashes have in common
		want    uint8
	}{
		"one block":         {64, 64, 3},
		"different hashes":  {65, 9, 10},
		"groups":            {128, 19, 20},
		"one large group":   {256, 64, 20},
		"too large a group": {257, 64, 0},
	} {
		e := &editor{applier: &applier{maxBits: 3}}
		for i := range c.records {
			hash := uint64(0)
			if c.bits < 64 && i >= c.records/2 {
				hash = 1 << (63 - c.bits)
			}
			e.refs = append(e.refs, ref{hash, record})
		}
		got, err := e.fit(3)
		if got != c.want || (err != nil) != (c.want == 0) || err != nil && !strings.Contains(err.Error(), "same 20 leading bits") {
			t.Errorf("%s: %d bits, %v; want %d", name, got, err, c.want)
		}
	}
}

// TestAnyDeltasApply applies random deltas, from empty ones to 1,000 times the table's records, with values up to the longest.
func TestAnyDeltasApply(t *testing.T) {
	longest := bytes.Repeat([]byte("0123456789abcdef"), dataset.MaxValueBytes/16)
	near := keysOf(80, 12)
	rapid.Check(t, func(rt *rapid.T) {
		const most = 8 << 20 // of payload, for the test's time
		m := numberedRecords(rapid.IntRange(1, 300).Draw(rt, "records"), 20)
		tab, err := load(t, snapshotOf(t, testSeed, m, 0), Config{Version: 1})
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "deltas") {
			changes := make(map[string][]byte)
			for key := range m {
				if rapid.IntRange(0, 9).Draw(rt, "remove") == 0 {
					changes[key] = nil
				}
			}
			size := rapid.SampledFrom([]int{0, 1, 100, 5_000, 256 << 10, dataset.MaxValueBytes}).Draw(rt, "size")
			grow := rapid.SampledFrom([]int{1, 2, 10, 1000}).Draw(rt, "growth") * len(m)
			grow = min(grow, 20_000, int(max(0, most-tab.PayloadBytes()))/(size+20))
			aimed := rapid.Bool().Draw(rt, "similar hashes")
			name := rapid.IntRange(0, 2).Draw(rt, "name")
			for i := range grow {
				key := fmt.Sprintf("%d-%d", name, i)
				if aimed && i < len(near) {
					key = near[i]
				}
				changes[key] = longest[:size]
			}
			base := tab.State()
			file := writeDelta(t, testSeed, changes, base, stateAfter(testSeed, base, m, changes), 384<<10<<13)
			if tab, _, err = apply(t.Context(), tab, file, Config{Version: tab.Version() + 1}); err != nil {
				rt.Fatal(err)
			}
			m = changedBy(m, changes)
			sameAsFresh(t, rt, tab, m, 384<<10<<13)
		}
	})
}
