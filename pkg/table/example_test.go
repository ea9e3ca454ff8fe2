package table_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// prices returns a snapshot with one record, as a publisher writes it.
func prices(price string) *bytes.Buffer {
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: 1})
	if err != nil {
		panic(err)
	}
	if err := w.Add(dataset.Record{Key: []byte("apple"), Value: []byte(price)}); err != nil {
		panic(err)
	}
	if _, err := w.Close(); err != nil {
		panic(err)
	}
	return &file
}

func load(file *bytes.Buffer, version uint64) *table.Table {
	r, err := snapshot.NewReader(file)
	if err != nil {
		panic(err)
	}
	t, err := table.Load(context.Background(), r, table.Config{Version: version})
	if err != nil {
		panic(err)
	}
	return t
}

func ExampleLoad() {
	r, err := snapshot.NewReader(prices("1.20"))
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := table.Load(context.Background(), r, table.Config{Version: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	value, ok := t.GetString("apple")
	fmt.Printf("version %d, %d record: %s %v\n", t.Version(), t.Len(), value, ok)
	// Output: version 1, 1 record: 1.20 true
}

func ExampleTable_GetMany() {
	t := load(prices("1.20"), 1)
	keys := [][]byte{[]byte("apple"), []byte("pear")}
	values := make([][]byte, len(keys))
	fmt.Println(t.GetMany(keys, values), "found")
	for i, value := range values {
		fmt.Printf("%s: %q %v\n", keys[i], value, value != nil)
	}
	// Output:
	// 1 found
	// apple: "1.20" true
	// pear: "" false
}

func ExampleTable_All() {
	for key, value := range load(prices("1.20"), 1).All() {
		fmt.Printf("%s costs %s\n", key, value)
	}
	// Output: apple costs 1.20
}

// An atomic.Pointer holds the current table. Readers continue while the next version replaces it.
func Example_swap() {
	var h atomic.Pointer[table.Table]
	h.Store(load(prices("1.20"), 1))

	t := h.Load() // one Load for lookups that belong together: they see one version
	old := h.Swap(load(prices("1.30"), 2))

	before, _ := t.GetString("apple")
	after, _ := h.Load().GetString("apple")
	fmt.Printf("version %d: %s, version %d: %s\n", old.Version(), before, h.Load().Version(), after)
	// Output: version 1: 1.20, version 2: 1.30
}

// Apply derives the next version of a table from a delta, and returns the changes.
func ExampleApply() {
	t := load(prices("1.20"), 1)
	next := load(prices("1.30"), 2) // only for its state checksum

	// A delta from one to the other, as a publisher writes it.
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: t.Seed(), Base: t.State()})
	if err != nil {
		panic(err)
	}
	if err := w.Add(dataset.Record{Key: []byte("apple"), Value: []byte("1.30")}); err != nil {
		panic(err)
	}
	if _, err := w.CloseDelta(next.State()); err != nil {
		panic(err)
	}

	r, err := snapshot.NewReader(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	t, changes, err := table.Apply(context.Background(), t, r, table.Config{Version: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	for c := range changes.All() {
		fmt.Printf("version %d: %s %v from %s to %s\n", t.Version(), c.Key, c.Op, c.Old, c.New)
	}
	// Output: version 2: apple changed from 1.20 to 1.30
}
