package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

// TestVersionsFromOneBase applies two series of deltas to one table, alternately and concurrently. The versions share slabs
// and the spare capacity of patches. No version may write to memory that another can read.
func TestVersionsFromOneBase(t *testing.T) {
	m := numberedRecords(3000, 40)
	root := newLine(t, m)
	// A patch with spare capacity, which both series try to use.
	root.step(map[string][]byte{"key-1": []byte("a"), "key-2": []byte("b"), "key-3": []byte("c")})
	const steps = 12
	type step struct{ file []byte }
	var lines [3][]step
	var want [3][]map[string][]byte
	for l := range lines {
		m := root.m
		for i := range steps {
			changes := make(map[string][]byte)
			for k := range 4 {
				changes[fmt.Sprintf("key-%d", (i*7+k)%50)] = fmt.Appendf(nil, "line %d step %d %d", l, i, k)
			}
			changes[fmt.Sprintf("key-%d", 100+i)] = nil
			lines[l] = append(lines[l], step{deltaOf(t, testSeed, m, changes)})
			m = changedBy(m, changes)
			want[l] = append(want[l], m)
		}
	}
	var tables [3][]*Table
	run := func(l, i int) {
		base := root.tab
		if i > 0 {
			base = tables[l][i-1]
		}
		tab, _, err := apply(t.Context(), base, lines[l][i].file, Config{Workers: 2})
		if err != nil {
			t.Error(err)
			return
		}
		tables[l] = append(tables[l], tab)
	}
	for i := range steps / 2 {
		for l := range lines {
			run(l, i)
		}
	}
	var wg sync.WaitGroup
	for l := range lines {
		wg.Go(func() {
			for i := steps / 2; i < steps; i++ {
				run(l, i)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	root.check()
	for l := range lines {
		for i, tab := range tables[l] {
			check(t, tab, testSeed, want[l][i])
			checkPartitions(t, tab)
		}
	}
}

// TestSpareCapacityOfAPatchIsUsedOnce applies two deltas to one table whose patch has spare capacity for either. The first
// appends; the second must copy.
func TestSpareCapacityOfAPatchIsUsedOnce(t *testing.T) {
	root := newLine(t, numberedRecords(500, 20))
	first := make(map[string][]byte)
	for i := range 40 {
		first[fmt.Sprintf("key-%d", i)] = []byte("this makes a patch with room")
	}
	root.step(first)
	p := root.tab.partitions[0]
	if p.patch == nil || p.patchCap-p.patchLen < 100 {
		t.Fatalf("a patch of %d bytes in %d; the test needs spare capacity", p.patchLen, p.patchCap)
	}
	one := &line{t: t, tab: root.tab, m: root.m}
	two := &line{t: t, tab: root.tab, m: root.m}
	one.step(map[string][]byte{"key-1": []byte("one"), "key-100": []byte("one too")})
	two.step(map[string][]byte{"key-2": []byte("two"), "key-100": []byte("two, longer")})
	if one.tab.partitions[0].patch != p.patch {
		t.Error("the first delta copied the patch although it had spare capacity")
	}
	if two.tab.partitions[0].patch == p.patch {
		t.Error("the second delta appended to the patch that the first has appended to")
	}
	one.step(map[string][]byte{"key-3": []byte("one three")})
	two.step(map[string][]byte{"key-3": []byte("two three")})
	for _, l := range []*line{root, one, two} {
		l.check()
	}
}

// TestReadersDuringApplies checks that readers see no table change while deltas are applied to the newest.
func TestReadersDuringApplies(t *testing.T) {
	const records, deltas, readers = 4000, 60, 3
	l := newLine(t, numberedRecords(records, 60))
	rng := rand.New(rand.NewPCG(9, 9))
	var files [][]byte
	m, states := l.m, []map[string][]byte{l.m}
	for d := range deltas {
		changes := make(map[string][]byte)
		for range 1 + rng.IntN(200) {
			key := fmt.Sprintf("key-%d", rng.IntN(records*5/4))
			if changes[key] = fmt.Appendf(nil, "delta %d of %s", d, key); rng.IntN(4) == 0 {
				changes[key] = nil
			}
		}
		files = append(files, deltaOf(t, testSeed, m, changes))
		m = changedBy(m, changes)
		states = append(states, m)
	}
	var h atomic.Pointer[Table]
	h.Swap(l.tab)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			seen := []*Table{h.Load()}
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if newest := h.Load(); newest != seen[len(seen)-1] {
					if newest.Version() < seen[len(seen)-1].Version() {
						t.Errorf("version %d after %d", newest.Version(), seen[len(seen)-1].Version())
						return
					}
					seen = append(seen, newest)
				}
				tab := seen[i%len(seen)]
				want := states[tab.Version()-1]
				keys, values := make([][]byte, 20), make([][]byte, 20)
				for k := range keys {
					keys[k] = fmt.Appendf(nil, "key-%d", (i*len(keys)+k)%(records*5/4))
				}
				tab.GetMany(keys, values)
				for k, key := range keys {
					if value, ok := tab.Get(key); !bytes.Equal(value, want[string(key)]) || ok != (want[string(key)] != nil) || !bytes.Equal(values[k], value) {
						t.Errorf("version %d has %.40q, %.40q for %s, want %.40q", tab.Version(), value, values[k], key, want[string(key)])
						return
					}
				}
			}
		})
	}
	tables := []*Table{l.tab}
	for _, file := range files {
		base := h.Load()
		tab, _, err := apply(t.Context(), base, file, Config{Version: base.Version() + 1, Workers: 2})
		if err != nil {
			t.Error(err)
			break
		}
		h.Swap(tab)
		tables = append(tables, tab)
	}
	close(done)
	wg.Wait()
	for i, tab := range tables {
		check(t, tab, testSeed, states[i])
	}
}

// TestValuesHeldOverDeltas holds values of collected versions, in slabs and in patches.
func TestValuesHeldOverDeltas(t *testing.T) {
	held, want := make(map[string][]byte), make(map[string][]byte)
	var gone []weak.Pointer[Table]
	func() {
		l := newLine(t, numberedRecords(8000, 60))
		for d := range 30 {
			changes := make(map[string][]byte)
			for i := range 200 {
				changes[fmt.Sprintf("key-%d", (d*200+i)%8000)] = fmt.Appendf(nil, "delta %d record %d", d, i)
			}
			l.step(changes)
			gone = append(gone, weak.Make(l.tab))
			for i := range 20 {
				key := fmt.Sprintf("key-%d", (d*200+i*31)%8000)
				name := fmt.Sprintf("%s in %d", key, d)
				held[name], _ = l.tab.GetString(key)
				want[name] = l.m[key]
			}
		}
	}()
	for range 4 {
		runtime.GC()
		for range 500 {
			for _, n := range []int{500, 2000, 9000, 260 << 10} {
				junk := make([]byte, n)
				for i := range junk {
					junk[i] = 0xff
				}
			}
		}
	}
	for i, w := range gone {
		if w.Value() != nil {
			t.Errorf("values keep table %d alive", i)
		}
	}
	for name, value := range held {
		if !bytes.Equal(value, want[name]) {
			t.Fatalf("held value of %s changed to %.40q, want %.40q", name, value, want[name])
		}
	}
}

// TestMemoryReturns applies many deltas, and compares the growth of the heap with the size of the last table.
func TestMemoryReturns(t *testing.T) {
	const records = 50_000
	var before, after runtime.MemStats
	m := numberedRecords(records, 100)
	l := &line{t: t, m: m}
	files := make([][]byte, 0, 40)
	state := stateOf(testSeed, m)
	for d := range cap(files) {
		changes := make(map[string][]byte)
		for i := range records / 100 {
			changes[fmt.Sprintf("key-%d", (d*7919+i*101)%records)] = bytes.Repeat([]byte{byte(d)}, 100)
		}
		next := stateAfter(testSeed, state, l.m, changes)
		files = append(files, writeDelta(t, testSeed, changes, state, next, 0))
		state, l.m = next, changedBy(l.m, changes)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	tab := tableOf(t, m)
	fresh := tab.Bytes()
	for _, file := range files {
		next, _, err := apply(t.Context(), tab, file, Config{})
		if err != nil {
			t.Fatal(err)
		}
		tab = next
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if grown < tab.Bytes()*9/10 || grown > tab.Bytes()*11/10+1<<20 {
		t.Errorf("the heap grew by %d bytes, Bytes says %d", grown, tab.Bytes())
	}
	if tab.Bytes() > fresh*3/2 {
		t.Errorf("after %d deltas of 1 %% the table has %d bytes, it had %d", len(files), tab.Bytes(), fresh)
	}
	check(t, tab, testSeed, l.m)
	runtime.KeepAlive(m)
	runtime.KeepAlive(files)
}
