package table

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

// benchRecords is the list of table sizes of the benchmarks. 10 M records take about 6 GB and half a minute to prepare:
//
//	go test -bench . ./table -bench.records 10000000
var benchRecords = flag.Int("bench.records", 1_000_000, "number of records in benchmarks")

// benchWidth is the width of the lane of the benchmarks. Run them with several widths alternately to see what a lane costs.
var benchWidth = flag.Int("bench.lane", 0, "width of the lane of benchmarks; 0 for no lane")

func benchLane() *lane.Lane {
	if *benchWidth == 0 {
		return nil
	}
	return lane.New(lane.Config{Name: "cpu", Width: *benchWidth, Hold: time.Second})
}

// benchKey appends the key of record i.
func benchKey(dst []byte, i int) []byte {
	x := uint64(i) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	dst = binary.BigEndian.AppendUint64(dst[:0], x*0xbf58476d1ce4e5b9)
	return binary.BigEndian.AppendUint64(dst, uint64(i))
}

// benchValue appends the value of record i in generation g: a row of 100 bytes.
func benchValue(dst []byte, i, g int) []byte {
	rng := rand.New(rand.NewPCG(uint64(i), uint64(g)))
	names := []string{"bolt", "nut", "washer", "screw", "gear", "plate", "frame", "spring"}
	dst = fmt.Appendf(dst[:0], `{"sku":%07d,"price":%d.%02d,"stock":%d,"name":"%s %s","cur":"EUR","live":%t}`,
		i, rng.IntN(500), rng.IntN(100), rng.IntN(1000), names[rng.IntN(8)], names[rng.IntN(8)], rng.IntN(2) == 0)
	for len(dst) < 100 {
		dst = append(dst, ' ')
	}
	return dst[:100]
}

// benchSnapshot returns a snapshot of n records with keys of 16 and values of 100 bytes, generation 0, and its state.
var benchSnapshot = sync.OnceValues(func() ([]byte, dataset.Checksum) {
	n := *benchRecords
	var key, value []byte
	order := make([]struct {
		hash uint64
		i    int
	}, n)
	for i := range order {
		key = benchKey(key, i)
		order[i].hash, order[i].i = dataset.Hash(testSeed, key), i
	}
	slices.SortFunc(order, func(a, b struct {
		hash uint64
		i    int
	},
	) int {
		return cmp.Compare(a.hash, b.hash)
	})
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: testSeed, RawBytes: int64(n) * 118})
	if err != nil {
		panic(err)
	}
	for _, o := range order {
		key, value = benchKey(key, o.i), benchValue(value, o.i, 0)
		if err := w.Add(dataset.Record{Key: key, Value: value}); err != nil {
			panic(err)
		}
	}
	totals, err := w.Close()
	if err != nil {
		panic(err)
	}
	return file.Bytes(), totals.State
})

func benchLoad(b *testing.B) *Table {
	b.Helper()
	file, _ := benchSnapshot()
	r, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		b.Fatal(err)
	}
	t, err := Load(context.Background(), r, Config{Version: 1, Lane: benchLane()})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

func BenchmarkLoad(b *testing.B) {
	benchSnapshot()
	for b.Loop() {
		benchLoad(b)
	}
}

// benchHits measures lookups of random keys of t, one by one and in batches.
func benchHits(b *testing.B, t *Table) {
	const lookups = 1 << 20
	keys := make([][]byte, lookups)
	rng := rand.New(rand.NewPCG(3, 3))
	all := make([]byte, 0, 16*lookups)
	for i := range keys {
		keys[i] = benchKey(all[i*16:i*16:i*16+16], rng.IntN(*benchRecords))
	}
	b.Run("get", func(b *testing.B) {
		i, sum := 0, 0
		for b.Loop() {
			v, _ := t.Get(keys[i&(lookups-1)])
			sum += int(v[50])
			i++
		}
	})
	b.Run("many16", func(b *testing.B) {
		var values [16][]byte
		i := 0
		for b.Loop() {
			if t.GetMany(keys[i&(lookups-1):][:16], values[:]) != 16 {
				b.Fatal("missing")
			}
			i += 16
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/16, "ns/key")
	})
}

func BenchmarkHit(b *testing.B) { benchHits(b, benchLoad(b)) }
