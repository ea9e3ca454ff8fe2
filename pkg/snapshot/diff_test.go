package snapshot

import (
	"bytes"
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
)

// seqOf yields rs, then err if it is not nil.
func seqOf(rs []dataset.Record, err error) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		for _, r := range rs {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(dataset.Record{}, err)
		}
	}
}

// recordsOf returns the records of a map in the order of a file.
func recordsOf(seed uint64, m map[string]string) []dataset.Record {
	var rs []dataset.Record
	for k, v := range m {
		rs = append(rs, up(k, v))
	}
	return sorted(seed, rs)
}

// TestModel draws two versions of a dataset as maps, writes both and reads them back. It compares the result of Diff, and
// the delta written from it, with the difference of the maps.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		if rapid.Bool().Draw(t, "ties") {
			seed = testSeed // with this one the keys of tied have the same hash
		}
		keys := rapid.OneOf(rapid.SampledFrom(tied[:]), rapid.StringN(1, 3, -1), rapid.StringN(1, 300, dataset.MaxKeyBytes))
		values := rapid.OneOf(rapid.Just(""), rapid.StringN(-1, 10, -1), rapid.StringN(-1, 1000, -1))
		before := rapid.MapOfN(keys, values, 0, 50).Draw(t, "before")
		after := maps.Clone(before)
		for _, k := range rapid.SliceOfN(keys, 0, 20).Draw(t, "upserted") {
			after[k] = values.Draw(t, "value")
		}
		for k := range before {
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				delete(after, k)
			}
		}
		raw := rapid.SampledFrom([]int64{0, 1 << 20, 8 << 20}).Draw(t, "expected size") // 1, 4 and 32 partitions

		old, oldState := modelFile(t, WriterConfig{Kind: Snapshot, Seed: seed, RawBytes: raw}, recordsOf(seed, before), dataset.Checksum{})
		now, nowState := modelFile(t, WriterConfig{Kind: Snapshot, Seed: seed, RawBytes: raw}, recordsOf(seed, after), dataset.Checksum{})
		var entries []dataset.Record
		for c, err := range Diff(seed, old.Records(), now.Records()) {
			if err != nil {
				t.Fatal(err)
			}
			was, had := before[string(c.Key)]
			is, has := after[string(c.Key)]
			want := map[[2]bool]Op{{false, true}: Added, {true, true}: Changed, {true, false}: Removed}[[2]bool{had, has}]
			if c.Op != want || string(c.Old) != was || string(c.New) != is || c.Op == Changed && was == is {
				t.Fatalf("key %q: %v from %q to %q, was %q, is %q", c.Key, c.Op, c.Old, c.New, was, is)
			}
			r := c.Record()
			entries = append(entries, dataset.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Removed: r.Removed})
		}

		// The delta, applied to before, results in after, and its states agree.
		delta, _ := modelFile(t, WriterConfig{Kind: Delta, Seed: seed, RawBytes: raw / 4, Base: oldState}, entries, nowState)
		got, state := maps.Clone(before), oldState
		for r, err := range delta.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if was, ok := got[string(r.Key)]; ok {
				state.Remove(seed, dataset.AppendRecord(nil, up(string(r.Key), was)))
			}
			delete(got, string(r.Key))
			if !r.Removed {
				got[string(r.Key)] = string(r.Value)
				state.Add(seed, dataset.AppendRecord(nil, r))
			}
		}
		if !maps.Equal(got, after) || state != nowState || state != delta.Totals().State || delta.Totals().Base != oldState {
			t.Fatalf("the delta leads to %v, state %v; want %v, state %v", got, state, after, nowState)
		}
	})
}

// modelFile writes a file, checks that a Reader yields the entries written, and returns another Reader of it.
func modelFile(t *rapid.T, cfg WriterConfig, rs []dataset.Record, result dataset.Checksum) (*Reader, dataset.Checksum) {
	var b bytes.Buffer
	w, err := NewWriter(&b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	closeFile := w.Close
	if cfg.Kind == Delta {
		closeFile = func() (Totals, error) { return w.CloseDelta(result) }
	}
	totals, err := closeFile()
	if err != nil {
		t.Fatal(err)
	}
	object := Expect(dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes})
	if got, err := readAll(bytes.NewReader(b.Bytes()), object); err != nil || !sameRecords(got, rs) {
		t.Fatalf("wrote %v, read %v: %v", rs, got, err)
	}
	r, err := NewReader(&b, object)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Kind == Snapshot && totals.State != stateOf(cfg.Seed, rs) {
		t.Fatalf("state %v, want %v", totals.State, stateOf(cfg.Seed, rs))
	}
	return r, totals.State
}

// TestDiffRefuses checks that a fault of either input ends the Diff with one error, and that both inputs are released.
func TestDiffRefuses(t *testing.T) {
	rs := sorted(testSeed, []dataset.Record{up("a", "1"), up("b", "2"), up("c", "3"), up(tied[0], "4"), up(tied[1], "5")})
	swapped := slices.Clone(rs)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	ties := []dataset.Record{up(tied[1], ""), up(tied[0], "")}
	for name, c := range map[string]struct {
		bad  iter.Seq2[dataset.Record, error]
		want error
	}{
		"an error at once":  {seqOf(nil, errDisk), errDisk},
		"an error later":    {seqOf(rs[:3], errDisk), errDisk},
		"an error last":     {seqOf(rs, errDisk), errDisk},
		"out of order":      {seqOf(swapped, nil), ErrOrder},
		"ties out of order": {seqOf(ties, nil), ErrOrder},
		"a key twice":       {seqOf([]dataset.Record{rs[0], rs[0]}, nil), ErrOrder},
		"a removal":         {seqOf([]dataset.Record{gone("a")}, nil), ErrRemoval},
	} {
		for input, d := range map[string]iter.Seq2[Change, error]{
			"old": Diff(testSeed, c.bad, seqOf(rs, nil)),
			"new": Diff(testSeed, seqOf(rs, nil), c.bad),
		} {
			var errs []error
			for change, err := range d {
				if err != nil {
					errs = append(errs, err)
				} else if len(errs) > 0 {
					t.Errorf("%s, input %s: %v after the error", name, input, change)
				}
			}
			if len(errs) != 1 || !errors.Is(errs[0], c.want) {
				t.Errorf("%s, input %s: %v", name, input, errs)
			}
		}
	}
}

// TestDiffStop checks that a consumer may stop at any change, of each kind.
func TestDiffStop(t *testing.T) {
	a := sorted(testSeed, []dataset.Record{up("a", "1"), up("b", "2"), up("c", "3"), up("d", "4")})
	b := sorted(testSeed, []dataset.Record{up("c", "3"), up("d", "5"), up("e", "6"), up("f", "7")})
	var all []Op
	for stop := 1; stop <= 5; stop++ {
		var ops []Op
		for c := range Diff(testSeed, seqOf(a, nil), seqOf(b, nil)) {
			if ops = append(ops, c.Op); len(ops) == stop {
				break
			}
		}
		if len(ops) != stop {
			t.Fatalf("%d changes, want %d", len(ops), stop)
		}
		all = ops
	}
	slices.Sort(all)
	if !slices.Equal(all, []Op{Added, Added, Changed, Removed, Removed}) {
		t.Errorf("changes %v", all)
	}
}
