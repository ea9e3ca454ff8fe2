package spill_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/spill"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const seed = 42

// sorter returns a Sorter in an empty folder, which it also returns.
func sorter(t testing.TB, memory int64) (*spill.Sorter, string) {
	dir := t.TempDir()
	s := spill.New(spill.Config{
		Seed: seed, MemoryBytes: memory,
		Path: func(name string) string { return filepath.Join(dir, name) },
	})
	t.Cleanup(s.Close)
	return s, dir
}

// add adds records in runs of a few; line numbers count from 1.
func add(t testing.TB, s *spill.Sorter, keys []string, value func(key string) string) {
	t.Helper()
	for first := 0; first < len(keys); first += 7 {
		run := s.NewRun(7, 64)
		for i, k := range keys[first:min(first+7, len(keys))] {
			run.Append(first+i+1, []byte(k), []byte(value(k)))
		}
		if err := s.Add(run); err != nil {
			t.Fatal(err)
		}
	}
}

// empty closes the Sorter, and fails if it leaves files.
func empty(t testing.TB, s *spill.Sorter, dir string) {
	t.Helper()
	s.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left", e.Name())
	}
}

func value(key string) string { return "value of " + key }

// Whatever fits into memory and whatever does not, at any depth of splits, all records come out, in order.
func TestSortsAnything(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		// 250 bytes hold a few records: ranges are split over and over.
		memory := rapid.SampledFrom([]int64{250, 2000, 20_000, 1 << 20}).Draw(r, "memory")
		n := rapid.IntRange(1, 250).Draw(r, "records")
		set := map[string]bool{}
		for i := range n {
			set[fmt.Sprint(rapid.StringN(0, 8, 24).Draw(r, "key"), i)] = true
		}
		keys := slices.Collect(maps.Keys(set))
		s, dir := sorter(t, memory)
		add(t, s, keys, value)
		slices.SortFunc(keys, func(a, b string) int {
			if c := cmp.Compare(dataset.Hash(seed, []byte(a)), dataset.Hash(seed, []byte(b))); c != 0 {
				return c
			}
			return strings.Compare(a, b)
		})
		// A first use that ends early changes nothing for the next.
		early := rapid.IntRange(0, 300).Draw(r, "early")
		for _, err := range s.Records(t.Context()) {
			if early--; err != nil || early < 0 {
				break
			}
		}
		var want spill.Totals
		i := 0
		for rec, err := range s.Records(t.Context()) {
			if err != nil {
				r.Fatal(err)
			}
			if string(rec.Key) != keys[i] || string(rec.Value) != value(keys[i]) {
				r.Fatalf("record %d is %q: %q, want %q", i, rec.Key, rec.Value, keys[i])
			}
			encoded := dataset.AppendRecord(nil, rec)
			want.State.Add(seed, encoded)
			want.RawBytes += int64(len(encoded))
			want.PayloadBytes += int64(len(rec.Key) + len(rec.Value))
			i++
		}
		if i != len(keys) || s.Totals() != want {
			r.Fatalf("%d of %d records, totals %+v, want %+v", i, len(keys), s.Totals(), want)
		}
		empty(t, s, dir)
	})
}

// crowd returns keys whose hashes share their first bits, so that one range gets them all.
func crowd(n int, bits int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		k := fmt.Sprintf("key-%d", i)
		if dataset.Hash(seed, []byte(k))>>(64-bits) == 0 {
			keys = append(keys, k)
		}
	}
	return keys
}

func TestSplitsACrowdedRange(t *testing.T) {
	s, dir := sorter(t, 2000)
	keys := crowd(200, 9)
	add(t, s, keys, value)
	n := 0
	for _, err := range s.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(keys) {
		t.Errorf("%d of %d records", n, len(keys))
	}
	empty(t, s, dir)
}

// Records up to the largest pass through the files and their buffers.
func TestLargeRecords(t *testing.T) {
	s, dir := sorter(t, spill.MinMemoryBytes)
	want := map[string]int{}
	for i := range 40 {
		key := fmt.Sprintf("%04d", i) + strings.Repeat("k", dataset.MaxKeyBytes-4)
		size := dataset.MaxValueBytes - i%3
		if i%2 == 0 {
			size = 60_000 + i*500 // around the size of a file's buffer
		}
		want[key] = size
		run := s.NewRun(1, 0)
		run.Append(i+1, []byte(key), bytes.Repeat([]byte{byte(i)}, size))
		if err := s.Add(run); err != nil {
			t.Fatal(err)
		}
	}
	for rec, err := range s.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if want[string(rec.Key)] != len(rec.Value) {
			t.Fatalf("%.10q has %d bytes, want %d", rec.Key, len(rec.Value), want[string(rec.Key)])
		}
		delete(want, string(rec.Key))
	}
	if len(want) != 0 {
		t.Errorf("%d records are missing", len(want))
	}
	empty(t, s, dir)
}

func TestDuplicates(t *testing.T) {
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("key-", i)
	}
	with := func(keys []string, at int, key string) []string { return slices.Insert(slices.Clone(keys), at, key) }
	for name, c := range map[string]struct {
		keys          []string
		memory        int64
		first, second int // 0: any lines that have the key
	}{
		"in memory":              {with(with(many, 400, "key-7"), 300, "key-9"), 1 << 20, 10, 301},
		"thrice":                 {[]string{"a", "b", "a", "a"}, 1 << 20, 1, 3},
		"thrice among many":      {append([]string{"same", "same", "same"}, many...), 1 << 20, 1, 2},
		"often among many":       {append(slices.Clone(many), slices.Repeat([]string{"same"}, 20)...), 1 << 20, 501, 502},
		"spilled":                {with(many, 400, "key-7"), 10_000, 8, 401},
		"one key only":           {slices.Repeat([]string{"same"}, 2000), 2000, 1, 2},
		"one key in a crowd":     {append(crowd(100, 9), slices.Repeat([]string{crowd(1, 9)[0]}, 100)...), 2000, 0, 0},
		"two keys over and over": {slices.Repeat([]string{"x", "y"}, 1000), 2000, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := sorter(t, c.memory)
			add(t, s, c.keys, value)
			var dup *spill.DuplicateError
			for rec, err := range s.Records(t.Context()) {
				if err != nil {
					if !errors.As(err, &dup) {
						t.Fatal(err)
					}
					continue
				}
				if dup != nil {
					t.Fatalf("%q is yielded after the error", rec.Key)
				}
			}
			switch {
			case dup == nil:
				t.Fatal("no duplicate was found")
			case c.first > 0 && (dup.First != c.first || dup.Second != c.second):
				t.Errorf("%v, want lines %d and %d", dup, c.first, c.second)
			case dup.First >= dup.Second || c.keys[dup.First-1] != string(dup.Key) || c.keys[dup.Second-1] != string(dup.Key):
				t.Errorf("%v, but the lines have %q and %q", dup, c.keys[dup.First-1], c.keys[dup.Second-1])
			}
		})
	}
}

func TestContextEndsTheSort(t *testing.T) {
	s, _ := sorter(t, 2000)
	add(t, s, crowd(100, 9), value)
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	n := 0
	for _, err := range s.Records(ctx) {
		if n++; !errors.Is(err, stop) || n > 1 {
			t.Fatalf("step %d: error is %v", n, err)
		}
	}
}

// A folder that has gone, a file that was damaged: an error that names it, never a wrong record.
func TestDiskFailures(t *testing.T) {
	keys := crowd(100, 9)
	t.Run("folder gone", func(t *testing.T) {
		s := spill.New(spill.Config{Seed: seed, MemoryBytes: 100, Path: func(name string) string {
			return filepath.Join(t.TempDir(), "gone", name)
		}})
		defer s.Close()
		run := s.NewRun(0, 1000)
		run.Append(1, []byte("a"), []byte("b"))
		if err := s.Add(run); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "spill records") {
			t.Errorf("error is %v", err)
		}
	})
	for _, memory := range []int64{2000, 1 << 13} { // split, and loaded at once
		t.Run(fmt.Sprintf("damaged, %d bytes of memory", memory), func(t *testing.T) {
			s, dir := sorter(t, memory)
			add(t, s, slices.Repeat(keys, 1), func(string) string { return strings.Repeat("v", 1000) })
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(files) != 1 {
				t.Fatalf("files are %v: %v", files, err)
			}
			if err := os.WriteFile(files[0], bytes.Repeat([]byte{0xff}, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
			var last error
			for _, err := range s.Records(t.Context()) {
				last = err
			}
			if !errors.Is(last, dataset.ErrEncoding) || !strings.Contains(last.Error(), filepath.Base(files[0])) {
				t.Errorf("error is %v", last)
			}
		})
	}
}

// TestLine has the line of each record that Records yields, in memory and spilled.
func TestLine(t *testing.T) {
	for name, memory := range map[string]int64{"in memory": 64 << 20, "spilled": spill.MinMemoryBytes} {
		s, _ := sorter(t, memory)
		keys := make([]string, 60_000)
		for i := range keys {
			keys[i] = fmt.Sprint("key-", i+1)
		}
		add(t, s, keys, func(string) string { return strings.Repeat("v", 100) })
		n := 0
		for r, err := range s.Records(t.Context()) {
			if want := fmt.Sprint("key-", s.Line()); err != nil || string(r.Key) != want {
				t.Fatalf("%s: key %s is said to be on line %d; %v", name, r.Key, s.Line(), err)
			}
			n++
		}
		if n != len(keys) {
			t.Errorf("%s: %d records", name, n)
		}
	}
}
