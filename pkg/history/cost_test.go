package history_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
)

// row returns a record that compresses like a row of a real table.
func row(i, n int) dataset.Record {
	return dataset.Record{
		Key:   fmt.Appendf(nil, "item-%011d", i),
		Value: fmt.Appendf(nil, `{"key":"item-%011d","price":%d,"stock":%d,"name":"item number %d","n":%d}`, i, i*7919%10007, i*104729%997, i, n),
	}
}

// publishRows publishes n rows as a whole.
func (r *rig) publishRows(t testing.TB, n int) dataset.VersionRecord {
	t.Helper()
	result, err := r.Publish(t.Context(), name, publish.Input{Records: func(yield func(dataset.Record, error) bool) {
		for i := range n {
			if !yield(row(i, 0), nil) {
				return
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return result.Record
}

// patchRows changes rows: each every-th, the first is first.
func (r *rig) patchRows(t testing.TB, n, first, every, round int) dataset.VersionRecord {
	t.Helper()
	result, err := r.Patch(t.Context(), name, publish.PatchInput{Input: publish.Input{Records: func(yield func(dataset.Record, error) bool) {
		for i := first; i < n; i += every {
			if !yield(row(i, round), nil) {
				return
			}
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return result.Record
}

// A diff by deltas reads the deltas and the blocks of the old values, and not the versions.
func TestDiffReadsTheDeltas(t *testing.T) {
	const rows = 100_000
	r := newRig(t, publish.MaxMaxDeltas)
	first := r.publishRows(t, rows)
	for v := range 5 {
		r.patchRows(t, rows, 17, rows/4, v+1) // four changes, which lie in four blocks
	}
	changes := 0
	reads := r.store.count(func() {
		d, err := r.Diff(t.Context(), name, 6, 1)
		if err != nil || !d.ByDeltas() {
			t.Fatalf("by deltas: %v: %v", d.ByDeltas(), err)
		}
		for c, err := range d.Changes(t.Context(), nil) {
			if err != nil || c.Op != snapshot.Changed {
				t.Fatal(c, err)
			}
			changes++
		}
	})
	if changes != 4 || sum(reads) > first.Snapshot.Bytes/2 {
		t.Errorf("%d changes, %d bytes read; the snapshot has %d", changes, sum(reads), first.Snapshot.Bytes)
	}
	t.Logf("%d bytes read; the snapshot has %d", sum(reads), first.Snapshot.Bytes)
}

// One record is read without the rest of its version.
func TestGetReadsOneBlockOfEachObject(t *testing.T) {
	const rows = 100_000
	r := newRig(t, publish.MaxMaxDeltas)
	first := r.publishRows(t, rows)
	r.patchRows(t, rows, 3, rows/3, 1)
	v := r.open(t, 2)
	reads := r.store.count(func() {
		values, err := v.Get(t.Context(), row(5, 0).Key)
		if err != nil || string(values[0]) != string(row(5, 0).Value) {
			t.Errorf("%q: %v", values, err)
		}
	})
	if sum(reads) > first.Snapshot.Bytes/4 || len(reads) != 2 {
		t.Errorf("%d bytes of %d objects were read; the snapshot has %d", sum(reads), len(reads), first.Snapshot.Bytes)
	}
}

// Many records are read with one read of each block, although the blocks have more bytes than the cache.
func TestGetOfManyRecordsReadsEachBlockOnce(t *testing.T) {
	const large, small = 400, 1600 // records; the large ones fill the blocks, and the small ones are read
	r := newRig(t, publish.MaxMaxDeltas)
	random := rand.NewChaCha8([32]byte{})
	value := make([]byte, 64<<10)
	key := func(i int) []byte { return fmt.Appendf(nil, "item-%04d", i) }
	result, err := r.Publish(t.Context(), name, publish.Input{Records: func(yield func(dataset.Record, error) bool) {
		for i := range large + small {
			v := key(i)
			if i >= small {
				_, _ = random.Read(value) // never fails
				v = value
			}
			if !yield(dataset.Record{Key: key(i), Value: v}, nil) {
				return
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	o := result.Record.Snapshot
	index, err := snapshot.ReadIndex(file{r, o}, o.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	for i := range small {
		keys = append(keys, key(i))
	}
	v := r.open(t, 1)
	reads := r.store.count(func() {
		values, err := v.Get(t.Context(), keys...)
		if err != nil {
			t.Fatal(err)
		}
		for i, value := range values {
			if string(value) != string(keys[i]) {
				t.Errorf("%q: %.40q", keys[i], value)
			}
		}
	})
	if n := len(reads[o.Digest]); n > index.Blocks()+3 || o.Bytes < 24<<20 { // 3 of the index
		t.Errorf("%d reads of %d blocks of %d bytes", n, index.Blocks(), o.Bytes)
	}
}

// An export and a diff read several blocks of a delta with one request.
func TestDeltasAreReadAhead(t *testing.T) {
	const rows = 100_000
	r := newRig(t, publish.MaxMaxDeltas)
	r.publishRows(t, rows)
	o, ok := r.patchRows(t, rows, 0, 3, 1).OwnDelta()
	if !ok {
		t.Fatal("version 2 has no delta")
	}
	index, err := snapshot.ReadIndex(file{r, o}, o.Bytes)
	if err != nil || index.Blocks() < 20 {
		t.Fatalf("%d blocks: %v", index.Blocks(), err)
	}
	for what, read := range map[string]func() error{
		"export": func() error {
			_, _, err := records(t.Context(), r.open(t, 2), nil)
			return err
		},
		"diff": func() error {
			d, err := r.Diff(t.Context(), name, 1, 2)
			if err != nil || !d.ByDeltas() {
				return fmt.Errorf("by deltas: %v", err)
			}
			for _, err := range d.Changes(t.Context(), nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		r.fresh()
		reads := r.store.count(func() {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		})
		if n := len(reads[o.Digest]); n > index.Blocks()/2 {
			t.Errorf("%s: %d reads of %d blocks of %d bytes", what, n, index.Blocks(), o.Bytes)
		}
	}
}

// A size is made of version records.
func TestSize(t *testing.T) {
	r := newRig(t, publish.MaxMaxDeltas)
	content := map[string]string{"a": "1", "b": "22"}
	first := r.publish(t, content)
	content["c"] = "333"
	second := r.patch(t, maps.Clone(content))
	reads := r.store.count(func() {
		s, err := r.Size(t.Context(), name, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := second.OwnDelta()
		if s.Version.Version != 2 || s.Snapshot != first.Snapshot || len(s.Deltas) != 1 || s.DeltaBytes() != own.Bytes || s.TableBytes <= 0 {
			t.Errorf("%+v", s)
		}
		if g := s.Growth; len(g) != 2 || g[0].Version.Version != 2 || g[0].DeltaBytes != own.Bytes || g[1].DeltaBytes != 0 || g[1].TableBytes > g[0].TableBytes {
			t.Errorf("%+v", s.Growth)
		}
		if s, err = r.Size(t.Context(), name, 1, 0); err != nil || s.Version.Version != 1 || len(s.Deltas) != 0 || s.Growth != nil {
			t.Errorf("%+v: %v", s, err)
		}
	})
	if len(reads) != 0 {
		t.Errorf("%d objects were read", len(reads))
	}
}

// file reads an object of the rig.
type file struct {
	r *rig
	o dataset.Object
}

func (f file) ReadAt(b []byte, off int64) (int, error) {
	body, err := f.r.store.OpenObject(context.Background(), f.o.Digest, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, b)
}
