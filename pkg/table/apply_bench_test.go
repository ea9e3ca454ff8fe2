package table

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// benchDelta returns a delta file that changes random records of t to their values of generation g.
func benchDelta(b *testing.B, t *Table, changed, g int) []byte {
	b.Helper()
	rng := rand.New(rand.NewPCG(uint64(changed), uint64(g)))
	picked := make(map[int]bool, changed)
	rs := make([]dataset.Record, 0, changed)
	state := t.State()
	for len(picked) < changed {
		i := rng.IntN(*benchRecords)
		if picked[i] {
			continue
		}
		picked[i] = true
		r := dataset.Record{Key: benchKey(nil, i), Value: benchValue(nil, i, g)}
		was, _ := t.Get(r.Key)
		state.Remove(testSeed, dataset.AppendRecord(nil, dataset.Record{Key: r.Key, Value: was}))
		state.Add(testSeed, dataset.AppendRecord(nil, r))
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(a, b dataset.Record) int {
		return cmp.Compare(dataset.Hash(testSeed, a.Key), dataset.Hash(testSeed, b.Key))
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: testSeed, RawBytes: int64(changed) * 118, Base: t.State()})
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.CloseDelta(state); err != nil {
		b.Fatal(err)
	}
	return file.Bytes()
}

func benchApply(b *testing.B, t *Table, file []byte) *Table {
	r, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		b.Fatal(err)
	}
	next, _, err := Apply(context.Background(), t, r, Config{Version: t.Version() + 1, Lane: benchLane()})
	if err != nil {
		b.Fatal(err)
	}
	return next
}

// BenchmarkApply applies deltas to a table just loaded, from bytes in hand, and for comparison loads the snapshot and
// clones a Go map and changes it, in the same run.
func BenchmarkApply(b *testing.B) {
	base := benchLoad(b)
	for _, changed := range []int{1, 10, 100, *benchRecords / 1000, *benchRecords / 100} {
		file := benchDelta(b, base, changed, 1)
		runtime.GC()
		b.Run(fmt.Sprintf("changes=%d", changed), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				benchApply(b, base, file)
			}
			b.ReportMetric(float64(len(file))/float64(changed), "B/change")
		})
	}
	b.Run("load", BenchmarkLoad)
}

// BenchmarkChain applies 30 deltas of 1 % one after the other, and measures lookups after some of them.
func BenchmarkChain(b *testing.B) {
	t := benchLoad(b)
	b.Run("deltas=0", func(b *testing.B) { benchHits(b, t) })
	var slowest, sum time.Duration
	for i := 1; i <= 30; i++ {
		file := benchDelta(b, t, *benchRecords/100, i)
		start := time.Now()
		t = benchApply(b, t, file)
		took := time.Since(start)
		slowest, sum = max(slowest, took), sum+took
		b.Logf("delta %d: %v, %.1f B/record beside the payload", i, took, float64(t.Bytes()-t.PayloadBytes())/float64(t.Len()))
		if i == 1 || i == 10 || i == 30 {
			b.Run(fmt.Sprintf("deltas=%d", i), func(b *testing.B) { benchHits(b, t) })
		}
	}
	b.Logf("mean %v, slowest %v", sum/30, slowest)
}

func BenchmarkMapClone(b *testing.B) {
	m := make(map[string][]byte, *benchRecords)
	for i := range *benchRecords {
		m[string(benchKey(nil, i))] = benchValue(nil, i, 0)
	}
	changes := make(map[string][]byte)
	rng := rand.New(rand.NewPCG(1, 1))
	for len(changes) < *benchRecords/100 {
		i := rng.IntN(*benchRecords)
		changes[string(benchKey(nil, i))] = benchValue(nil, i, 1)
	}
	for b.Loop() {
		next := maps.Clone(m)
		maps.Copy(next, changes)
	}
}
