package tape_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/tape"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Records yields the added records in order, each time, for all sizes and buffer ends.
func TestRecordsReadAsAdded(t *testing.T) {
	folder, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(folder, fmt.Sprint(n))
		tp := tape.New(path)
		var want []dataset.Record
		raw := int64(0)
		for range 2 { // read, go on, read again
			for range rapid.IntRange(0, 20).Draw(rt, "records") {
				r := dataset.Record{Key: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(rt, "key"), Removed: rapid.Bool().Draw(rt, "removed")}
				if !r.Removed {
					size := rapid.SampledFrom([]int{0, 1, 1000, 64 << 10, dataset.MaxValueBytes}).Draw(rt, "size")
					r.Value = make([]byte, size)
				}
				if err := tp.Add(r); err != nil {
					rt.Fatal(err)
				}
				raw += int64(r.EncodedBytes())
				want = append(want, r)
			}
			for range 2 {
				i := 0
				for r, err := range tp.Records() {
					if err != nil {
						rt.Fatal(err)
					}
					if string(r.Key) != string(want[i].Key) || string(r.Value) != string(want[i].Value) || r.Removed != want[i].Removed {
						rt.Fatalf("record %d is another", i)
					}
					i++
				}
				if i != len(want) || tp.Entries() != uint64(i) || tp.RawBytes() != raw {
					rt.Fatalf("%d records, %d entries of %d bytes; want %d of %d", i, tp.Entries(), tp.RawBytes(), len(want), raw)
				}
			}
		}
		if err := tp.Close(); err != nil {
			rt.Fatal(err)
		}
		left, err := filepath.Glob(filepath.Join(folder, "*"))
		if diff := cmp.Diff([]string(nil), left); err != nil || diff != "" {
			rt.Fatalf("%v %s", err, diff)
		}
	})
}

func TestFileIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tape")
	first, second := tape.New(path), tape.New(path)
	defer first.Close()
	large := dataset.Record{Key: []byte("a"), Value: make([]byte, dataset.MaxValueBytes)}
	if err := first.Add(large); err != nil {
		t.Fatal(err)
	}
	if err := second.Add(large); !errors.Is(err, os.ErrExist) {
		t.Errorf("two tapes share a file: %v", err)
	}
}

// What little there is needs no file.
func TestFewRecordsStayInMemory(t *testing.T) {
	tp := tape.New(filepath.Join(t.TempDir(), "none", "tape"))
	for i := range 1000 {
		if err := tp.Add(dataset.Record{Key: fmt.Append(nil, i), Value: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tp.Close(); err != nil {
		t.Error(err)
	}
}
