package index_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sort"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/table"
)

const benchRecords = 1_000_000

// benchValue returns a value of about 150 bytes: a code of 200, a text that is nearly unique, a number, and a network that is unique.
func benchValue(i, generation int) []byte {
	a := benchAddr((i + generation) % benchRecords)
	return fmt.Appendf(nil, `{"country":"%c%c","name":"%s","pop":%d,"cidr":"%s/24","filler":"some more text of a record","generation":%d}`,
		'A'+(i+generation)%20, 'A'+i%10, benchName(i+generation), (i+generation)*7919%10_000_000, a, generation)
}

func benchName(i int) string { return fmt.Sprintf("City of %x", uint32(i)*2654435761) }

func benchAddr(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i)*16<<8) // one in 16 of all networks of 256 addresses
	return netip.AddrFrom4(b)
}

func benchKey(i int) []byte { return fmt.Appendf(nil, "city-%08d", i) }

var benchTables struct {
	base *table.Table
	// moved changes all members of 1 % of the records, and other changes none that are indexed.
	moved, other *table.Changes
}

func benchBase(b *testing.B) *table.Table {
	b.Helper()
	if benchTables.base == nil {
		all := make([]dataset.Record, benchRecords)
		hashes := make(map[string]uint64, benchRecords)
		for i := range all {
			all[i] = dataset.Record{Key: benchKey(i), Value: benchValue(i, 0)}
			hashes[string(all[i].Key)] = dataset.Hash(seed, all[i].Key)
		}
		slices.SortFunc(all, func(x, y dataset.Record) int { return cmp.Compare(hashes[string(x.Key)], hashes[string(y.Key)]) })
		benchTables.base = loadAll(b, 1, all)
		benchTables.moved = patch(b, benchTables.base, benchChange(func(i int) []byte { return benchValue(i, 1) }), nil)
		benchTables.other = patch(b, benchTables.base, benchChange(func(i int) []byte {
			return append(benchValue(i, 0)[:len(benchValue(i, 0))-2], "1}"...)
		}), nil)
	}
	return benchTables.base
}

// benchChange returns 1 % of the records with other values.
func benchChange(value func(i int) []byte) records {
	rng := rand.New(rand.NewPCG(1, 2))
	set := records{}
	for len(set) < benchRecords/100 {
		i := rng.IntN(benchRecords)
		set[string(benchKey(i))] = string(value(i))
	}
	return set
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// benchSpecs are the indexes that are measured, each alone.
var benchSpecs = []string{"country", "name^", "pop^", "cidr/ip"}

// BenchmarkBuild builds an index of a million records.
func BenchmarkBuild(b *testing.B) {
	base := benchBase(b)
	for _, spec := range benchSpecs {
		b.Run(spec, func(b *testing.B) {
			var set *index.Set
			before := heap()
			for b.Loop() {
				set = build(b, base, spec)
			}
			b.ReportMetric(float64(heap()-before)/benchRecords, "B/record")
			b.ReportMetric(float64(set.Stats()[0].Bytes)/benchRecords, "counted-B/record")
		})
	}
}

// BenchmarkDelta applies 1 % of changes to a table, and moves an index of it over the same changes: all of them in the indexed member,
// or none.
func BenchmarkDelta(b *testing.B) {
	base := benchBase(b)
	change := benchChange(func(i int) []byte { return benchValue(i, 1) })
	for _, workers := range []int{1, 2} { // an index has one
		b.Run(fmt.Sprintf("table/workers=%d", workers), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := delta(b, base, change, nil)
				b.StartTimer()
				if _, _, err := table.Apply(background, base, r, table.Config{Version: 2, NoHugePages: true, Workers: workers}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, spec := range benchSpecs {
		set := build(b, base, spec)
		for _, c := range []struct {
			name    string
			changes *table.Changes
		}{{"moved", benchTables.moved}, {"other", benchTables.other}} {
			b.Run(spec+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					follow(b, set, c.changes)
				}
			})
		}
	}
	b.Run("changes-alone", func(b *testing.B) {
		for b.Loop() {
			for c := range benchTables.moved.Brief() {
				found += len(c.Key)
			}
		}
	})
}

// BenchmarkLookup looks up random values.
func BenchmarkLookup(b *testing.B) {
	base := benchBase(b)
	rng := rand.New(rand.NewPCG(3, 4))
	run := func(spec, what string, condition func(i int) index.Condition, limit int) {
		set := build(b, base, spec)
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				m, err := set.Find(condition(rng.IntN(benchRecords)))
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for range m.All() {
					if n++; n == limit {
						break
					}
				}
				if n == 0 {
					b.Fatal("found nothing")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
		})
	}
	run("name^", "one", func(i int) index.Condition { return index.Equal("name", index.Text(benchName(i))) }, 1)
	run("country", "first-20-of-a-country", func(i int) index.Condition {
		return index.Equal("country", index.Text(fmt.Sprintf("%c%c", 'A'+i%20, 'A'+i%10)))
	}, 20)
	run("pop^", "first-20-above-a-number", func(i int) index.Condition {
		return index.Between("pop", []index.Value{index.Int(int64(i))}, nil)
	}, 20)
}

var found int // so that the compiler keeps what is measured

// BenchmarkNetwork finds the network around random addresses: with the index, up to the record; with a binary search in a sorted slice
// of the networks of the same records, up to the key, and up to the record in the same table.
func BenchmarkNetwork(b *testing.B) {
	base := benchBase(b)
	set := build(b, base, "cidr/ip")
	rng := rand.New(rand.NewPCG(5, 6))
	probe := func() netip.Addr {
		a := benchAddr(rng.IntN(benchRecords)).As4()
		a[3] = byte(rng.Uint32())
		return netip.AddrFrom4(a)
	}
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			m, err := set.Find(index.Around("cidr", probe()))
			if err != nil {
				b.Fatal(err)
			}
			for match := range m.All() {
				found += len(match.Value)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
	})
	type network struct {
		first, last netip.Addr
		key         string
	}
	before := heap()
	networks := make([]network, benchRecords)
	for i := range networks {
		a := benchAddr(i)
		end := a.As4()
		end[3] = 255
		networks[i] = network{a, netip.AddrFrom4(end), string(benchKey(i))}
	}
	slices.SortFunc(networks, func(x, y network) int { return x.first.Compare(y.first) })
	size := float64(heap()-before) / benchRecords
	search := func(b *testing.B) string {
		a := probe()
		i := sort.Search(len(networks), func(i int) bool { return networks[i].first.Compare(a) > 0 }) - 1
		if i < 0 || a.Compare(networks[i].last) > 0 {
			b.Fatal("found nothing")
		}
		return networks[i].key
	}
	b.Run("sorted-slice", func(b *testing.B) {
		for b.Loop() {
			found += len(search(b))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
		b.ReportMetric(size, "B/record")
	})
	b.Run("sorted-slice-and-record", func(b *testing.B) {
		for b.Loop() {
			value, _ := base.GetString(search(b))
			found += len(value)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
	})
}
