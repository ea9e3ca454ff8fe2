package roots

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
)

func one(i int) records { return records{fmt.Sprintf("key-%d", i): fmt.Sprint("patched ", i)} }

// TestRollbackByFive is the example of the issue: five patches, a rollback by five, and one back to the newest.
func TestRollbackByFive(t *testing.T) {
	i := newInstance(t, 15, 10_000)
	for n := range 5 {
		i.patch(one(n))
	}
	if n, bytes := i.roots.Kept("prices"); n != 5 || bytes == 0 || bytes > 5*64<<10 {
		t.Fatalf("%d roots of %d bytes after five patches", n, bytes)
	}
	if !i.rollback(1) {
		t.Fatal("version 1 is not kept")
	}
	if !i.rollback(6) {
		t.Fatal("version 6, from before the rollback, is not kept")
	}
	if !i.rollback(7) {
		t.Fatal("version 7, the rollback itself, is not kept")
	}
	i.patch(one(9))
	for version := uint64(1); version < 10; version++ {
		if _, _, ok := i.find(version); !ok {
			t.Errorf("version %d is not kept", version)
		}
	}
	if n, _ := i.roots.Kept("prices"); n != 9 {
		t.Errorf("%d roots, want 9", n)
	}
}

func TestOnlyTheNamedVersionIsFound(t *testing.T) {
	i := newInstance(t, 15, 5000)
	i.patch(one(1))
	rec := i.record(1)
	if _, _, ok := i.roots.Find(rec, i.tab); !ok {
		t.Fatal("version 1 is not found")
	}
	other := rec
	other.Restores.ID[3]++
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("another version with the same number, state and seed was found")
	}
	other = rec
	other.Restores.Version = 2
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("another number was found")
	}
	other = rec
	other.State.Lo++
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("another state was found")
	}
	other = rec
	other.Seed++
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("another seed was found")
	}
	other = rec
	other.Dataset = "stock"
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("the root of another dataset was found")
	}
	other = rec
	other.Restores.ID = dataset.VersionID{}
	if _, _, ok := i.roots.Find(other, i.tab); ok {
		t.Error("a version without an id was found")
	}
	if _, _, ok := i.roots.Find(rec, loadTable(t, 2, i.content)); ok {
		t.Error("changes from a table that is not served were found")
	}
}

func TestNothingIsKeptAcrossASnapshot(t *testing.T) {
	i := newInstance(t, 100, 5000)
	i.patch(one(1))
	i.load(i.content)
	i.patch(one(2))
	for version := uint64(1); version <= 2; version++ {
		if _, _, ok := i.find(version); ok {
			t.Errorf("version %d, from before the snapshot, is kept", version)
		}
	}
	if n, _ := i.roots.Kept("prices"); n != 1 || !i.rollback(3) {
		t.Errorf("%d roots, want only the version of the snapshot", n)
	}
}

func TestZeroPercentKeepsNothing(t *testing.T) {
	for name, r := range map[string]*Roots{"0": New(0), "none": nil} {
		i := newInstance(t, 0, 5000)
		i.roots = r
		i.load(i.content)
		i.patch(one(1))
		i.patch(records{}) // no change at all
		if n, bytes := i.roots.Kept("prices"); n != 0 || bytes != 0 || i.rollback(2) {
			t.Errorf("%s: %d roots of %d bytes", name, n, bytes)
		}
	}
}

// TestLargeVersionIsNotKept replaces more than the bound allows at once, and then less.
func TestLargeVersionIsNotKept(t *testing.T) {
	i := newInstance(t, 15, 20_000)
	i.patch(one(1))
	i.patch(one(2))
	all := records{}
	for n := range 10_000 {
		all[fmt.Sprintf("key-%d", n)] = fmt.Sprintf("%090d", n)
	}
	i.patch(all)
	if n, bytes := i.roots.Kept("prices"); n != 0 || bytes != 0 {
		t.Errorf("%d roots of %d bytes after half of the table was replaced", n, bytes)
	}
	i.patch(one(3))
	if !i.rollback(4) {
		t.Error("the large version is not kept after a small one")
	}
}

// TestNumberOfRootsIsBounded makes more tiny patches than there may be roots.
func TestNumberOfRootsIsBounded(t *testing.T) {
	i := newInstance(t, 100, 15_000)
	for n := range maxRoots + 10 {
		i.patch(one(n % 3))
	}
	n, _ := i.roots.Kept("prices")
	newest := i.next() - 2
	_, _, oldest := i.find(newest - maxRoots + 1)
	if _, _, older := i.find(newest - maxRoots); n != maxRoots || !oldest || older {
		t.Errorf("%d roots, the oldest %v, the one before %v", n, oldest, older)
	}
}

// TestModel makes random patches and rollbacks, and checks after each that every root that is found has the content of its version, that
// the roots stay within their bound, and that the oldest ones were dropped.
func TestModel(t *testing.T) {
	for _, percent := range []int{15, 30, 60, 100} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(percent), 3))
			i := newInstance(t, percent, 2000)
			var order []uint64 // the earlier versions, in the order in which their content was served last
			restored, pulled := 0, 0
			for range 40 {
				was := i.next() - 1
				switch at := uint64(1 + r.IntN(len(i.history))); {
				case r.IntN(2) == 0 && at != was:
					if !i.rollback(at) {
						pulled++
						i.pull(i.history[at-1])
						order = append(order, was)
						break
					}
					restored++
					order = slices.DeleteFunc(order, func(v uint64) bool { return v == at })
					order = append(order, was, at)
				default:
					changes := records{}
					for range []int{1, 3, 40}[r.IntN(3)] {
						changes[fmt.Sprintf("key-%d", r.IntN(2200))] = []string{"", fmt.Sprintf("%0*d", r.IntN(150), r.Uint64())}[min(1, r.IntN(5))]
					}
					i.patch(changes)
					order = append(order, was)
				}
				i.checkKept(percent, order)
			}
			t.Logf("%d rollbacks to roots, %d pulled", restored, pulled)
			if restored == 0 || percent < 50 && pulled == 0 {
				t.Errorf("%d rollbacks to roots, %d pulled", restored, pulled)
			}
		})
	}
}

// checkKept checks all roots. order has all earlier versions, in the order in which they were served last.
func (i *instance) checkKept(percent int, order []uint64) {
	i.t.Helper()
	if !maps.Equal(contentOf(i.tab), i.content) {
		i.t.Fatalf("version %d is served with other content", i.next()-1)
	}
	n, bytes := i.roots.Kept("prices")
	if bytes >= i.tab.Bytes()*int64(percent)/100 && n > 0 || n > maxRoots {
		i.t.Fatalf("%d roots hold %d bytes, the table has %d", n, bytes, i.tab.Bytes())
	}
	for at, version := range order {
		_, _, ok := i.find(version)
		if ok != (at >= len(order)-n) {
			i.t.Fatalf("version %d, the %d. of %v, is kept: %v; %d roots", version, at+1, order, ok, n)
		}
		i.checkSince(version, ok)
	}
}

// TestBytesAreThoseOfTheHeap drops the roots after a long history, and compares the heap with what Kept returned.
func TestBytesAreThoseOfTheHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	i := newInstance(t, 100, 60_000)
	for n := range 30 {
		changes := records{}
		for range []int{10, 100, 600}[n%3] {
			changes[fmt.Sprintf("key-%d", r.IntN(60_000))] = fmt.Sprintf("%090d", n)
		}
		i.patch(changes)
		if n%7 == 6 && !i.rollback(i.next()-3) {
			t.Fatal("the version before the last is not kept")
		}
	}
	kept, bytes := i.roots.Kept("prices")
	tab := i.tab
	i.history, i.content = nil, nil // their memory is no part of the difference
	before := heap()
	i.roots.Swapped(Swap{Dataset: "prices", To: Root{refOf(1), tab}})
	freed := before - heap()
	runtime.KeepAlive(i)
	t.Logf("%d roots hold %d bytes of a table of %d; the heap shrank by %d", kept, bytes, tab.Bytes(), freed)
	// Records, edges and the allocator's rounding of small pages are not counted.
	if kept < 10 || freed < bytes*95/100 || freed > bytes*110/100 {
		t.Errorf("%d roots hold %d bytes, and %d became free", kept, bytes, freed)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A number alone names a version, unless there are several with it.
func TestSinceANumber(t *testing.T) {
	i := newInstance(t, 15, 5000)
	i.patch(one(1))
	now := Root{refOf(2), i.tab}
	if _, by, ok := i.roots.Since("prices", dataset.Ref{Version: 1}, now); !ok || by == nil {
		t.Error("version 1 is not found by its number")
	}
	if tab, by, ok := i.roots.Since("prices", dataset.Ref{Version: 2}, now); !ok || by != nil || tab != i.tab {
		t.Error("the served version is not found by its number")
	}
	other := Root{dataset.Ref{Version: 1, ID: dataset.VersionID{9}}, loadTable(t, 1, i.content)}
	if _, _, ok := i.roots.Since("prices", dataset.Ref{Version: 1}, other); ok {
		t.Error("one of two versions with the number 1 was chosen")
	}
	if tab, by, ok := i.roots.Since("prices", refOf(1), other); !ok || by != nil || tab == other.Table {
		t.Error("version 1 is not found by its id, before the Roots know of the swap")
	}
	var none *Roots
	if tab, _, ok := none.Since("prices", other.Ref, other); !ok || tab != other.Table {
		t.Error("the served version is not found without roots")
	}
	if _, _, ok := New(15).Since("prices", refOf(1), other); ok {
		t.Error("a version is found before the first swap")
	}
}
