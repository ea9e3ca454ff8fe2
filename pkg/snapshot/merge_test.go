package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
)

// streamOf yields rs, then err if it is not nil. Each record is in a buffer that the next one overwrites, as in a Reader.
func streamOf(rs []dataset.Record, err error) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		var buf []byte
		for _, r := range rs {
			buf = dataset.AppendRecord(buf[:0], r)
			again, _, derr := dataset.DecodeRecord(buf)
			if derr != nil {
				panic(derr)
			}
			if !yield(again, nil) {
				return
			}
			clear(buf)
		}
		if err != nil {
			yield(dataset.Record{}, err)
		}
	}
}

// Invariant: Merge yields the records of base with each delta applied to the result of the one before.
func TestMergeIsTheDeltasAppliedInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(0, 3).Draw(t, "seed")
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
		draw := func(what string, removals bool) []dataset.Record {
			var rs []dataset.Record
			for _, k := range rapid.SliceOfNDistinct(key, 0, 10, rapid.ID).Draw(t, what) {
				if removals && rapid.Bool().Draw(t, "removed") {
					rs = append(rs, gone(k))
				} else {
					rs = append(rs, up(k, fmt.Sprint(what, k)))
				}
			}
			return sorted(seed, rs)
		}
		base := draw("base", false)
		want := map[string]string{}
		for _, r := range base {
			want[string(r.Key)] = string(r.Value)
		}
		var deltas []iter.Seq2[dataset.Record, error]
		for i := range rapid.IntRange(0, 4).Draw(t, "deltas") {
			d := draw(fmt.Sprint("delta", i), true)
			deltas = append(deltas, streamOf(d, nil))
			for _, r := range d {
				if r.Removed {
					delete(want, string(r.Key))
				} else {
					want[string(r.Key)] = string(r.Value)
				}
			}
		}
		got := map[string]string{}
		in := input{seed: seed}
		for r, err := range Merge(seed, streamOf(base, nil), deltas...) {
			if err == nil {
				err = in.set(r) // fails unless r is in order and not a removal
			}
			if err != nil {
				t.Fatal(err)
			}
			got[string(r.Key)] = string(r.Value)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("merged to %v, want %v", got, want)
		}
	})
}

func TestMergePassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	good := sorted(testSeed, []dataset.Record{up("a", "1"), up("b", "2"), up("c", "3")})
	back := []dataset.Record{good[1], good[0]}
	for name, c := range map[string]struct {
		base   iter.Seq2[dataset.Record, error]
		deltas []iter.Seq2[dataset.Record, error]
		want   error
	}{
		"base":               {streamOf(good[:1], broken), []iter.Seq2[dataset.Record, error]{streamOf(good, nil)}, broken},
		"base out of order":  {streamOf(back, nil), []iter.Seq2[dataset.Record, error]{streamOf(nil, nil)}, ErrOrder},
		"removal in base":    {streamOf([]dataset.Record{gone("a")}, nil), []iter.Seq2[dataset.Record, error]{streamOf(nil, nil)}, ErrRemoval},
		"delta at once":      {streamOf(good, nil), []iter.Seq2[dataset.Record, error]{streamOf(nil, broken)}, broken},
		"delta later":        {streamOf(good, nil), []iter.Seq2[dataset.Record, error]{streamOf(good, nil), streamOf(good[:2], broken)}, broken},
		"delta out of order": {streamOf(good, nil), []iter.Seq2[dataset.Record, error]{streamOf(back, nil)}, ErrOrder},
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for r, err := range Merge(testSeed, c.base, c.deltas...) {
				if last != nil {
					t.Fatalf("yielded %v after the error", r)
				}
				last = err
			}
			if !errors.Is(last, c.want) {
				t.Errorf("error is %v, want %v", last, c.want)
			}
		})
	}
	for range Merge(testSeed, streamOf(good, nil), streamOf(good, nil), streamOf(good, nil)) {
		break // goleak finds goroutines that leak when a consumer stops early
	}
}

func TestIndexFindsTheBlockOfEveryKey(t *testing.T) {
	rs := rows(3000)
	for name, file := range map[string][]byte{
		"one block":   snapshotOf(t, rs[:10], 0),
		"many blocks": snapshotOf(t, rs, 64*maxTarget),
		"empty":       snapshotOf(t, nil, 0),
	} {
		t.Run(name, func(t *testing.T) {
			src := bytes.NewReader(file)
			x, err := ReadIndex(src, int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			_, totals, err := verify(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			totals.Digest = dataset.Digest{}
			if x.Totals != totals {
				t.Errorf("totals are %+v, want %+v", x.Totals, totals)
			}
			all, err := readAll(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				n, ok := x.Block(dataset.Hash(testSeed, r.Key))
				if !ok {
					t.Fatalf("no block for key %x", r.Key)
				}
				s, err := x.Read(src, n)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := s.Decode(nil)
				if err != nil {
					t.Fatal(err)
				}
				found := false
				for w := s.Walk(raw); w.Next(); {
					found = found || bytes.Equal(w.Key(), r.Key) && bytes.Equal(w.Value(), r.Value)
				}
				if !found {
					t.Fatalf("key %x is not in block %d", r.Key, n)
				}
			}
			if n, ok := x.Block(0); ok && len(all) == 0 {
				t.Errorf("an empty file has block %d", n)
			}
		})
	}
}

// Invariant: with any bit flipped, either ReadIndex or Index.Read fails.
func TestIndexRefusesEveryFlippedBit(t *testing.T) {
	rs := rows(60)
	file := snapshotOf(t, rs, 4*maxTarget)
	x, err := ReadIndex(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if x.Blocks() < 3 {
		t.Fatalf("the file has %d blocks, the test needs several", x.Blocks())
	}
	for bit := range len(file) * 8 {
		bad := bytes.Clone(file)
		bad[bit/8] ^= 1 << (bit % 8)
		src := bytes.NewReader(bad)
		refused := false
		y, err := ReadIndex(src, int64(len(bad)))
		if err != nil {
			refused = errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormat)
		} else {
			for n := range y.Blocks() {
				s, err := y.Read(src, n)
				if err == nil {
					_, err = s.Decode(nil)
				}
				refused = refused || errors.Is(err, ErrCorrupt)
			}
		}
		if !refused {
			t.Fatalf("bit %d of byte %d of %d: accepted (%v)", bit%8, bit/8, len(file), err)
		}
	}
	for cut := range file {
		if _, err := ReadIndex(bytes.NewReader(file[:cut]), int64(cut)); err == nil {
			t.Fatalf("cut at %d of %d: accepted", cut, len(file))
		}
	}
	if _, err := ReadIndex(bytes.NewReader(file[:len(file)/2]), int64(len(file))); !errors.Is(err, ErrTruncated) {
		t.Errorf("half of the file: error is %v, want ErrTruncated", err)
	}
}

// Invariant: MergeDeltas yields one delta that does what the deltas do in turn.
func TestMergeDeltas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(0, 3).Draw(t, "seed")
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
		want := map[string]string{}
		var deltas []iter.Seq2[dataset.Record, error]
		for i := range rapid.IntRange(0, 4).Draw(t, "deltas") {
			var rs []dataset.Record
			for _, k := range rapid.SliceOfNDistinct(key, 0, 8, rapid.ID).Draw(t, "keys") {
				r := up(k, fmt.Sprint(i, k))
				if rapid.Bool().Draw(t, "removed") {
					r = gone(k)
				}
				want[k] = fmt.Sprint(r.Removed, string(r.Value))
				rs = append(rs, r)
			}
			deltas = append(deltas, streamOf(sorted(seed, rs), nil))
		}
		got := map[string]string{}
		in := input{seed: seed, delta: true}
		for r, err := range MergeDeltas(seed, deltas...) {
			if err == nil {
				err = in.set(r) // fails unless r is in order
			}
			if err != nil {
				t.Fatal(err)
			}
			got[string(r.Key)] = fmt.Sprint(r.Removed, string(r.Value))
		}
		if !maps.Equal(got, want) {
			t.Fatalf("merged to %v, want %v", got, want)
		}
	})
	broken := errors.New("broken")
	good := sorted(testSeed, []dataset.Record{up("a", "1"), gone("b"), up("c", "3")})
	for name, deltas := range map[string][]iter.Seq2[dataset.Record, error]{
		"at once": {streamOf(good, nil), streamOf(nil, broken)},
		"later":   {streamOf(good[:2], broken), streamOf(good, nil)},
	} {
		var last error
		for _, err := range MergeDeltas(testSeed, deltas...) {
			last = err
		}
		if !errors.Is(last, broken) {
			t.Errorf("%s: error is %v", name, last)
		}
	}
	for range MergeDeltas(testSeed, streamOf(good, nil), streamOf(good, nil)) {
		break // goleak finds goroutines that leak when a consumer stops early
	}
}

// From is the first block that a hash or a higher one may be in.
func TestIndexFrom(t *testing.T) {
	file := snapshotOf(t, rows(3000), 64*maxTarget)
	x, err := ReadIndex(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if x.From(0) != 0 || x.Blocks() < 2 {
		t.Errorf("the first of %d blocks is %d", x.Blocks(), x.From(0))
	}
	for _, r := range rows(3000) {
		hash := dataset.Hash(testSeed, r.Key)
		if block, ok := x.Block(hash); !ok || x.From(hash) != block {
			t.Fatalf("hash %x is in block %d, From says %d", hash, block, x.From(hash))
		}
	}
	if last := x.From(1<<64 - 1); last < x.Blocks()-1 {
		t.Errorf("the highest hash is from block %d of %d on", last, x.Blocks())
	}
}
