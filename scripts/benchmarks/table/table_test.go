package table

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/rows"
)

// sizes are the numbers of records that benchmarks run with.
var sizes = []int{1_000_000, 10_000_000}

// forEach calls run for each size and alternative, with only this alternative in memory.
func forEach(b *testing.B, run func(b *testing.B, f files, name string, a alternative)) {
	for _, count := range sizes {
		b.Run(fmt.Sprintf("records=%d", count), func(b *testing.B) {
			f := filesIn(b.TempDir(), count)
			if err := f.make(); err != nil {
				b.Fatal(err)
			}
			for _, name := range names {
				b.Run(name, func(b *testing.B) {
					a, err := build(b.Context(), name, f)
					if err != nil {
						b.Fatal(err)
					}
					run(b, f, name, a)
				})
			}
		})
	}
}

// perKey measures lookup over random keys from first to first+count-1.
func perKey(b *testing.B, first, count int, lookup func(keys [][]byte) int) {
	keys := rows.Keys(rand.New(rand.NewPCG(1, 1)), queries, first, count)
	b.ReportAllocs()
	for b.Loop() {
		lookup(keys)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/queries, "ns/key")
}

func BenchmarkLookup(b *testing.B) {
	forEach(b, func(b *testing.B, f files, _ string, a alternative) {
		b.Run("hit", func(b *testing.B) { perKey(b, 0, f.count, a.get) })
		b.Run("miss", func(b *testing.B) { perKey(b, f.count, f.count, a.get) })
		if t, ok := a.(freshet); ok {
			b.Run("many", func(b *testing.B) { perKey(b, 0, f.count, many{t}.get) })
		}
	})
}

func BenchmarkGC(b *testing.B) {
	forEach(b, func(b *testing.B, _ files, _ string, a alternative) {
		runtime.GC()
		for b.Loop() {
			runtime.GC()
		}
		runtime.KeepAlive(a)
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, count := range sizes {
		b.Run(fmt.Sprintf("records=%d", count), func(b *testing.B) {
			f := filesIn(b.TempDir(), count)
			if err := f.make(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				t, err := loadTable(context.Background(), f.snapshot, table.Config{})
				if err != nil {
					b.Fatal(err)
				}
				if t.Len() != count {
					b.Fatalf("%d records of %d", t.Len(), count)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(count), "ns/record")
		})
	}
}

// TestAlternatives checks the lookups of all alternatives with a small size.
func TestAlternatives(t *testing.T) {
	const count = 50_000
	f := filesIn(t.TempDir(), count)
	if err := f.make(); err != nil {
		t.Fatal(err)
	}
	there := rows.Keys(rand.New(rand.NewPCG(1, 1)), 1600, 0, count)
	gone := rows.Keys(rand.New(rand.NewPCG(1, 2)), 1600, count, count)
	var want uint64
	var all []alternative
	for _, name := range names {
		a, err := build(t.Context(), name, f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	for _, a := range append(all, many{all[0].(freshet)}) {
		found, sum := a.read(there)
		if want == 0 {
			want = sum
		}
		if found != len(there) || sum != want || a.get(there) != len(there) || a.get(gone) != 0 {
			t.Errorf("%T finds %d of %d, sum %d of %d, and %d that are not there", a, found, len(there), sum, want, a.get(gone))
		}
	}
}

// TestMeasure runs all parts of the measurement once with a small size in this process.
func TestMeasure(t *testing.T) {
	f := filesIn(t.TempDir(), 20_000)
	if err := f.make(); err != nil {
		t.Fatal(err)
	}
	times, err := measureLookups(t.Context(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		m, err := measureMemory(t.Context(), name, f)
		if err != nil {
			t.Fatal(err)
		}
		if m.Heap < int64(f.count)*rows.PayloadBytes || times.Hit[name] <= 0 || times.Miss[name] <= 0 || times.Read[name] <= 0 {
			t.Errorf("%s: %+v, %+v", name, m, times)
		}
	}
	l, err := measureLoad(t.Context(), f, table.Config{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := measureJSON(f, false)
	if err != nil {
		t.Fatal(err)
	}
	if l.Nanoseconds <= 0 || l.TableBytes <= 0 || j.Nanoseconds <= 0 {
		t.Errorf("load %+v, JSON %+v", l, j)
	}
}
