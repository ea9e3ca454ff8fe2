package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// allocations returns the memory of a table: the size of each of its allocations.
func allocations(t *Table) map[unsafe.Pointer]int64 {
	all := map[unsafe.Pointer]int64{unsafe.Pointer(unsafe.SliceData(t.partitions)): directoryBytes(len(t.partitions))}
	for _, p := range t.partitions {
		if p.records == 0 {
			continue
		}
		all[unsafe.Pointer(p)] = partitionBytes
		all[unsafe.Pointer(unsafe.SliceData(p.slab))] = int64(cap(p.slab))
		if p.patch != nil {
			all[unsafe.Pointer(p.patch)] = int64(p.patchCap)
		}
		for i, page := range p.pages {
			if p.backed&(1<<i) == 0 {
				all[unsafe.Pointer(page)] = int64(p.pageBytes)
			} else {
				base := unsafe.Add(unsafe.Pointer(page), -4*i*p.pageSlots())
				all[base] = indexPages * 4 * int64(p.pageSlots())
			}
		}
	}
	return all
}

// unsharedModel is Unshared by the addresses of all memory.
func unsharedModel(t, other *Table) int64 {
	n, shared := tableBytes, allocations(other)
	for address, size := range allocations(t) {
		if _, ok := shared[address]; !ok {
			n += size
		}
	}
	return n
}

// TestUnsharedIsExact grows a tree of versions by random deltas, some large enough to split partitions, and compares Unshared of every
// pair with the addresses of their memory. Bytes is what a table holds alone.
func TestUnsharedIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 13))
	tree := []line{*newLine(t, numberedRecords(12_000, 100))}
	splits, next := 0, 12_000
	for i := range 40 {
		from := tree[rng.IntN(len(tree))]
		changes := make(map[string][]byte)
		for range []int{1, 20, 300, 3000}[i%4] {
			changes[fmt.Sprintf("key-%d", rng.IntN(12_000))] = fmt.Appendf(nil, "%0*d", 20+rng.IntN(100), i)
		}
		if i%5 == 4 {
			for range 6000 {
				next++
				changes[fmt.Sprintf("key-%d", next)] = fmt.Appendf(nil, "%0200d", i)
			}
		}
		dirs := len(from.tab.partitions)
		from.step(changes)
		if len(from.tab.partitions) > dirs {
			splits++
		}
		tree = append(tree, from)
	}
	if splits == 0 {
		t.Error("no delta has split a partition")
	}
	for i, a := range tree {
		if got := unsharedModel(a.tab, tableOf(t, nil)); got != a.tab.Bytes() {
			t.Errorf("version %d: its memory is %d bytes, Bytes returns %d", i, got, a.tab.Bytes())
		}
		for j, b := range tree {
			want := unsharedModel(a.tab, b.tab)
			if i == j {
				want = tableBytes
			}
			if got := a.tab.Unshared(b.tab); got != want {
				t.Fatalf("versions %d and %d: %d bytes are not shared, want %d", i, j, got, want)
			}
		}
	}
}

// TestReversedChanges follows deltas back, in one step and over several, and from a version that has another number, too.
func TestReversedChanges(t *testing.T) {
	m := []map[string][]byte{numberedRecords(3000, 20)}
	tables := []*Table{tableOf(t, m[0])}
	var by []*Changes
	for i := range 5 {
		changes := map[string][]byte{
			"key-1": fmt.Appendf(nil, "step %d", i), fmt.Sprintf("key-%d", 10+i): nil, fmt.Sprintf("new-%d", i): []byte("added"),
			"key-2": m[0]["key-2"], "key-3": {[]byte("a")[0] + byte(i%2)},
		}
		tab, c, err := apply(t.Context(), tables[i], deltaOf(t, testSeed, m[i], changes), Config{})
		if err != nil {
			t.Fatal(err)
		}
		m, tables, by = append(m, changedBy(m[i], changes)), append(tables, tab), append(by, c)
	}
	for from := range tables {
		for to := range from {
			c := by[from-1].Reverse()
			for i := from - 2; i >= to; i-- {
				c = c.Then(by[i].Reverse())
			}
			as, none := tables[to].As(9)
			c = c.Then(none)
			checkChanges(t, fmt.Sprintf("from %d back to %d", from, to), testSeed, c.All(), m[from], m[to])
			checkChanges(t, fmt.Sprintf("from %d back to %d, brief", from, to), testSeed, c.Brief(), m[from], m[to])
			if c.Old() != tables[from] || c.New() != as || as.Version() != 9 || tables[to].Version() == 9 || c.Replaced() != 0 {
				t.Errorf("from %d back to %d: tables of versions %d and %d, %d bytes are replaced", from, to, c.Old().Version(), c.New().Version(), c.Replaced())
			}
			checkChanges(t, fmt.Sprintf("from %d on to %d", to, from), testSeed, c.Reverse().All(), m[to], m[from])
			checkChanges(t, fmt.Sprintf("from %d on to %d, brief", to, from), testSeed, c.Reverse().Brief(), m[to], m[from])
			if got := as.Unshared(tables[to]); got != tableBytes {
				t.Errorf("the same table as another version takes %d bytes", got)
			}
		}
	}
	if n := by[0].Bytes(); n == 0 || by[0].Then(by[1]).Bytes() != n+by[1].Bytes() || by[0].Reverse().Bytes() != n {
		t.Errorf("the deltas take %d and %d bytes, together %d", n, by[1].Bytes(), by[0].Then(by[1]).Bytes())
	}
}
