package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// counting counts what is read out of objects.
type counting struct {
	store.Store
	bytes atomic.Int64
	whole atomic.Int64 // reads to the end of an object, whose length was not said
}

func (c *counting) OpenObject(ctx context.Context, d dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	r, err := c.Store.OpenObject(ctx, d, offset, length)
	if err != nil {
		return nil, err
	}
	if length < 0 {
		c.whole.Add(1)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, (*tally)(&c.bytes)), r}, nil
}

type tally atomic.Int64

func (t *tally) Write(p []byte) (int, error) {
	(*atomic.Int64)(t).Add(int64(len(p)))
	return len(p), nil
}

// at reads an object by ranges.
type at struct {
	store.Store
	digest dataset.Digest
}

func (a at) ReadAt(b []byte, offset int64) (int, error) {
	r, err := a.OpenObject(context.Background(), a.digest, offset, int64(len(b)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.ReadFull(r, b)
}

// A patch reads the blocks that its keys may be in, by ranges, and not the dataset; what it read of late it does not
// read again.
func TestPatchReadsLittle(t *testing.T) {
	const records, changes = 200_000, 12
	count := &counting{}
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		count.Store = d.Store
		d.Store = count
	})
	first, err := r.Publish(t.Context(), "prices", publish.Input{Body: bytes.NewReader(revision(records, 0)), Key: "key"})
	if err != nil {
		t.Fatal(err)
	}
	whole := first.Record.Snapshot
	index, err := snapshot.ReadIndex(at{r.store, whole.Digest}, whole.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block := whole.Bytes / int64(index.Blocks())
	random := rand.New(rand.NewPCG(1, 2))
	var ids [changes]int
	read := func(n int) int64 {
		var text bytes.Buffer
		for _, id := range ids {
			line(&text, id, n)
		}
		fmt.Fprintf(&text, `{"key":"new-%d"}`, n)
		count.bytes.Store(0)
		count.whole.Store(0)
		got, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: &text, Key: "key"}})
		if err != nil || got.Changes != (dataset.Changes{Added: 1, Changed: changes}) {
			t.Fatalf("%+v: %v", got, err)
		}
		if count.whole.Load() > 0 {
			t.Errorf("patch %d read %d objects to their end", n, count.whole.Load())
		}
		return count.bytes.Load()
	}
	for n := range 4 {
		for i := range ids {
			ids[i] = i*(records/changes) + random.IntN(records/changes)
		}
		most := (changes+1)*block*5/4 + 64<<10 // blocks are not equally large; the index
		if got := read(1000 + 2*n); got > most || most > whole.Bytes/3 {
			t.Errorf("patch of %d records read %d bytes of %d in blocks of %d", changes+1, got, whole.Bytes, block)
		}
		// The same again, which all lie in the delta of the first; another key has a block of its own.
		if got := read(1001 + 2*n); got > 2*block {
			t.Errorf("patch of the same records read %d bytes, in blocks of %d", got, block)
		}
	}
}

// A patch of many records is spilled, and looked up in batches, in a long chain of deltas.
func TestLargePatch(t *testing.T) {
	const records = 60_000
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MemoryBytes = publish.MinMemoryBytes })
	if _, err := r.Publish(t.Context(), "prices", publish.Input{Body: bytes.NewReader(revision(records, 0)), Key: "key"}); err != nil {
		t.Fatal(err)
	}
	var rec dataset.VersionRecord
	for n := 1; n <= 3; n++ {
		var text bytes.Buffer
		for i := range records {
			switch {
			case i%10 == n:
				fmt.Fprintf(&text, `{"key":"item-%09d","$remove":true}`+"\n", i)
			case i%2 == 0:
				line(&text, i, 1) // the first patch changes it, the others do not
			}
		}
		got, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(text.String()), Key: "key"}})
		if err != nil {
			t.Fatal(err)
		}
		want := publish.PatchResult{Changes: dataset.Changes{Removed: records / 10}}
		switch n {
		case 1:
			want.Changes.Changed = records / 2
		case 2:
			want.Unchanged = records * 4 / 10
		case 3: // those that the second removed come back
			want.Unchanged, want.Changes.Added = records*4/10, records/10
		}
		if got.Changes != want.Changes || got.Unchanged != want.Unchanged || got.Missing != 0 {
			t.Errorf("patch %d: %+v, want %+v", n, got, want)
		}
		rec = got.Record
		noTemp(t, r.temp)
	}
	if got := len(content(t, r.store, rec)); got != records*8/10 || uint64(got) != rec.State.Records {
		t.Errorf("%d records, the record says %d", got, rec.State.Records)
	}
}
