package table

import (
	"fmt"
	"iter"
	"maps"
	"runtime"
	"testing"
	"weak"

	"freshet.dev/pkg/snapshot"
)

func TestDiffOfOneTable(t *testing.T) {
	m := numberedRecords(5000, 10)
	tab := tableOf(t, m)
	checkChanges(t, "with itself", testSeed, Diff(tab, tab), m, m)
	checkChanges(t, "with an equal one", testSeed, Diff(tab, tableOf(t, m)), m, m)
	checkChanges(t, "with an empty one", testSeed, Diff(tab, tableOf(t, nil)), m, nil)
	checkChanges(t, "with an empty one before", testSeed, Diff(tableOf(t, nil), tab), nil, m)
}

// TestDiffSkipsSharedPartitions makes the shared partitions of two tables unreadable.
func TestDiffSkipsSharedPartitions(t *testing.T) {
	m := numberedRecords(20_000, 100)
	l := newLine(t, m)
	old := l.tab
	l.step(map[string][]byte{"key-1": []byte("changed")})
	shared := 0
	for i, p := range old.partitions {
		if l.tab.partitions[i] == p {
			clear(p.slab)
			shared++
		}
	}
	if shared < 4 {
		t.Fatalf("%d of %d partitions are shared", shared, len(old.partitions))
	}
	checkChanges(t, "diff", testSeed, Diff(old, l.tab), m, l.m)
}

// TestDiffOfTwoSeeds compares tables with different orders, as after the deletion and re-creation of a dataset.
func TestDiffOfTwoSeeds(t *testing.T) {
	m := numberedRecords(3000, 10)
	next := changedBy(m, map[string][]byte{"key-1": nil, "key-2": []byte("changed"), "new-1": []byte("added"), "new-2": {}})
	old := tableOf(t, m)
	tab, err := load(t, snapshotOf(t, testSeed+1, next, 0), Config{})
	if err != nil {
		t.Fatal(err)
	}
	ops := make(map[string]snapshot.Op)
	for c := range Diff(old, tab) {
		ops[string(c.Key)] += c.Op
		if string(c.Old) != string(m[string(c.Key)]) || string(c.New) != string(next[string(c.Key)]) {
			t.Errorf("%s from %q to %q", c.Key, c.Old, c.New)
		}
	}
	want := map[string]snapshot.Op{"key-1": snapshot.Removed, "key-2": snapshot.Changed, "new-1": snapshot.Added, "new-2": snapshot.Added}
	if !maps.Equal(ops, want) {
		t.Errorf("the changes are %v, want %v", ops, want)
	}
}

// TestChangesStop breaks out of each kind of iteration.
func TestChangesStop(t *testing.T) {
	m := numberedRecords(3000, 10)
	l := newLine(t, m)
	step := func(n int) *Changes {
		changes := make(map[string][]byte)
		for i := range 10 {
			changes[fmt.Sprintf("key-%d", n+i)] = []byte("changed")
		}
		tab, made, err := apply(t.Context(), l.tab, deltaOf(t, testSeed, l.m, changes), Config{})
		if err != nil {
			t.Fatal(err)
		}
		l.tab, l.m = tab, changedBy(l.m, changes)
		return made
	}
	one := step(0)
	two := one.Then(step(5))
	other, err := load(t, snapshotOf(t, testSeed+1, m, 0), Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, changes := range map[string]func(func(snapshot.Change) bool){
		"one delta": one.All(), "two deltas": two.All(), "tables": Diff(one.Old(), l.tab),
		"tables that share partitions": Diff(one.New(), l.tab), "tables of two seeds": Diff(l.tab, other), "the same back": Diff(other, l.tab),
	} {
		for n := 1; n <= 3; n++ {
			i := 0
			for range changes {
				if i++; i == n {
					break
				}
			}
			if i != n {
				t.Errorf("%s: %d changes after a break at %d", name, i, n)
			}
		}
	}
	checkChanges(t, "two deltas after a break", testSeed, two.All(), m, l.m)
	stopped := 0
	for range Diff(tableOf(t, nil), other) { // only added records
		if stopped++; stopped == 2 {
			break
		}
	}
	if stopped != 2 {
		t.Errorf("%d changes after a break at 2", stopped)
	}
}

// TestChangesThatDoNotFollow checks that Then panics for changes that do not follow c.
func TestChangesThatDoNotFollow(t *testing.T) {
	m := numberedRecords(100, 10)
	tab := tableOf(t, m)
	file := deltaOf(t, testSeed, m, map[string][]byte{"key-1": nil})
	_, one, err := apply(t.Context(), tab, file, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Then of changes from the same table did not panic")
		}
	}()
	one.Then(one)
}

// TestJoinedChangesFreeTheTablesBetween checks that joined changes of several deltas do not reference the tables in between.
func TestJoinedChangesFreeTheTablesBetween(t *testing.T) {
	var between []weak.Pointer[Table]
	var all *Changes
	first, last := numberedRecords(3000, 10), map[string][]byte(nil)
	func() {
		l := newLine(t, first)
		for i := range 5 {
			changes := map[string][]byte{"key-1": fmt.Appendf(nil, "%d", i), fmt.Sprintf("key-%d", i+2): nil}
			tab, made, err := apply(t.Context(), l.tab, deltaOf(t, testSeed, l.m, changes), Config{})
			if err != nil {
				t.Fatal(err)
			}
			l.tab, l.m = tab, changedBy(l.m, changes)
			if all == nil {
				all = made
			} else {
				all = all.Then(made)
			}
			if i < 4 {
				between = append(between, weak.Make(tab))
			}
		}
		last = l.m
	}()
	runtime.GC()
	for i, w := range between {
		if w.Value() != nil {
			t.Errorf("the table after delta %d of 5 is still referenced", i+1)
		}
	}
	checkChanges(t, "all", testSeed, all.All(), first, last)
}

// TestPace ends each kind of iteration by its pace, in the middle of records that do not differ.
func TestPace(t *testing.T) {
	m := numberedRecords(3000, 10)
	l := newLine(t, m)
	_, one, err := apply(t.Context(), l.tab, deltaOf(t, testSeed, m, map[string][]byte{"key-1": []byte("a"), "key-2": nil, "new": []byte("b")}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := load(t, snapshotOf(t, testSeed+1, m, 0), Config{})
	if err != nil {
		t.Fatal(err)
	}
	same := tableOf(t, m)
	for name, changes := range map[string]func(pace func() bool) iter.Seq[snapshot.Change]{
		"one delta": one.Paced, "two deltas": one.Then(one.Reverse()).Paced,
		"tables":       func(pace func() bool) iter.Seq[snapshot.Change] { return DiffPaced(l.tab, same, pace) },
		"of two seeds": func(pace func() bool) iter.Seq[snapshot.Change] { return DiffPaced(l.tab, other, pace) },
	} {
		for most := 1; most <= 3; most++ {
			calls := 0
			for range changes(func() bool { calls++; return calls < most }) {
			}
			if calls != most {
				t.Errorf("%s: %d calls of a pace that ends at %d", name, calls, most)
			}
		}
		calls := 0
		for range changes(func() bool { calls++; return true }) {
		}
		if want := map[bool]int{true: 3, false: 3000}[name == "one delta" || name == "two deltas"]; calls < want {
			t.Errorf("%s: %d calls, want at least %d", name, calls, want)
		}
	}
}
