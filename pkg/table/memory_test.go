package table

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

// TestHeldValuesStay holds values of a collected table, and gives the collector and the allocator every chance to reuse
// their memory.
func TestHeldValuesStay(t *testing.T) {
	m := numberedRecords(20_000, 100)
	tab := tableOf(t, m)
	held := make(map[string][]byte)
	for i := 0; i < 20_000; i += 97 {
		key := fmt.Sprintf("key-%d", i)
		held[key], _ = tab.GetString(key)
	}
	values := make([][]byte, 1)
	tab.GetMany([][]byte{[]byte("key-3")}, values)
	held["key-3"] = values[0]
	gone := weak.Make(tab)
	tab = nil
	for range 4 {
		runtime.GC()
		for range 64 {
			junk := make([]byte, 256<<10)
			for i := range junk {
				junk[i] = 0xff
			}
		}
	}
	if gone.Value() != nil {
		t.Error("values keep the table itself alive")
	}
	for key, value := range held {
		if !bytes.Equal(value, m[key]) {
			t.Fatalf("held value of %s changed to %.40q", key, value)
		}
	}
}

// TestReplacedTableIsFreed checks that only held values keep memory of a replaced table.
func TestReplacedTableIsFreed(t *testing.T) {
	var h atomic.Pointer[Table]
	var slabs []weak.Pointer[byte]
	var held []byte
	func() { // a function, so that its frame is gone when the collector runs
		h.Swap(tableOf(t, numberedRecords(50_000, 100)))
		for _, p := range h.Load().partitions {
			slabs = append(slabs, weak.Make(&p.slab[0]))
		}
		held, _ = h.Load().GetString("key-7")
	}()
	h.Swap(tableOf(t, numberedRecords(10, 10)))
	runtime.GC()
	runtime.GC() // a pooled decoder references its last output until here
	alive := 0
	for _, s := range slabs {
		if s.Value() != nil {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d of %d slabs are alive, want only the slab of a held value", alive, len(slabs))
	}
	runtime.KeepAlive(held)
}

// TestBytes compares Bytes with the growth of the heap, and with the package comment.
func TestBytes(t *testing.T) {
	const records, valueBytes = 100_000, 100
	m := numberedRecords(records, valueBytes)
	file := snapshotOf(t, testSeed, m, 0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // pools keep their objects over the first collection
	runtime.ReadMemStats(&before)
	tab, err := load(t, file, Config{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	allocated := int64(after.TotalAlloc - before.TotalAlloc)
	if limit := tab.Bytes()*115/100 + 4<<20; allocated > limit {
		t.Errorf("load allocated %d bytes for a table of %d", allocated, tab.Bytes())
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if grown < tab.Bytes()*9/10 || grown > tab.Bytes()*11/10+1<<20 {
		t.Errorf("the heap grew by %d bytes, Bytes says %d", grown, tab.Bytes())
	}
	if over := float64(tab.Bytes()-tab.PayloadBytes()) / records; over > 16 {
		t.Errorf("%.1f bytes a record in addition to the payload", over)
	}
	runtime.KeepAlive(m)
	runtime.KeepAlive(file)
}

// TestReadersDuringSwaps checks that readers see one version at a time while versions are swapped.
func TestReadersDuringSwaps(t *testing.T) {
	const records, versions, readers = 3000, 20, 4
	files := make([][]byte, versions)
	for v := range files {
		m := make(map[string][]byte)
		for i := range records {
			m[fmt.Sprintf("key-%d", i)] = fmt.Appendf(nil, "%d of version %d", i, v)
		}
		files[v] = snapshotOf(t, testSeed, m, 4<<20)
	}
	var h atomic.Pointer[Table]
	if h.Load() != nil {
		t.Fatal("a new pointer holds a table")
	}
	swap := func(v int) {
		tab, err := load(t, files[v], Config{Version: uint64(v)})
		if err != nil {
			t.Error(err)
			return
		}
		if old := h.Swap(tab); v > 0 && old.Version() != uint64(v-1) {
			t.Errorf("version %d replaced %d", v, old.Version())
		}
	}
	swap(0)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			last := uint64(0)
			for i := r; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				tab := h.Load()
				if tab.Version() < last {
					t.Errorf("version %d after %d", tab.Version(), last)
					return
				}
				last = tab.Version()
				values := make([][]byte, 2)
				keys := [][]byte{fmt.Appendf(nil, "key-%d", i%records), fmt.Appendf(nil, "key-%d", (i+1)%records)}
				tab.GetMany(keys, values)
				one, _ := tab.Get(keys[0])
				want := fmt.Sprintf("%d of version %d", i%records, last)
				if string(one) != want || string(values[0]) != want {
					t.Errorf("version %d has %q and %q, want %q", last, one, values[0], want)
					return
				}
			}
		})
	}
	for v := 1; v < versions; v++ {
		swap(v)
	}
	close(done)
	wg.Wait()
}
