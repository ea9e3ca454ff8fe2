package snapshot

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
)

// Invariant: Combine yields, in order, the last entry of each key that a delta has.
func TestCombineYieldsTheLastEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(0, 3).Draw(t, "seed")
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
		want := map[string]string{} // "-" for a removal
		var deltas []iter.Seq2[dataset.Record, error]
		for i := range rapid.IntRange(0, 5).Draw(t, "deltas") {
			var rs []dataset.Record
			for _, k := range rapid.SliceOfNDistinct(key, 0, 8, rapid.ID).Draw(t, "keys") {
				r := up(k, fmt.Sprint(i, k))
				if rapid.Bool().Draw(t, "removed") {
					r = gone(k)
				}
				rs = append(rs, r)
				want[k] = text(r)
			}
			deltas = append(deltas, streamOf(sorted(seed, rs), nil))
		}
		got := map[string]string{}
		in := input{seed: seed, delta: true}
		for r, err := range Combine(seed, deltas...) {
			if err == nil {
				err = in.set(r) // fails unless r is in order
			}
			if err != nil {
				t.Fatal(err)
			}
			got[string(r.Key)] = text(r)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("combined to %v, want %v", got, want)
		}
	})
}

func text(r dataset.Record) string {
	if r.Removed {
		return "-"
	}
	return string(r.Value)
}

func TestCombinePassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	good := sorted(testSeed, []dataset.Record{up("a", "1"), gone("b"), up("c", "3")})
	for name, c := range map[string]struct {
		deltas []iter.Seq2[dataset.Record, error]
		want   error
	}{
		"at once":      {[]iter.Seq2[dataset.Record, error]{streamOf(good, nil), streamOf(nil, broken)}, broken},
		"later":        {[]iter.Seq2[dataset.Record, error]{streamOf(good[:2], broken), streamOf(good, nil)}, broken},
		"out of order": {[]iter.Seq2[dataset.Record, error]{streamOf([]dataset.Record{good[1], good[0]}, nil)}, ErrOrder},
	} {
		var last error
		for r, err := range Combine(testSeed, c.deltas...) {
			if last != nil {
				t.Fatalf("%s: yielded %v after the error", name, r)
			}
			last = err
		}
		if !errors.Is(last, c.want) {
			t.Errorf("%s: error is %v, want %v", name, last, c.want)
		}
	}
	for range Combine(testSeed, streamOf(good, nil), streamOf(good, nil)) {
		break // goleak finds goroutines that leak when a consumer stops early
	}
}
