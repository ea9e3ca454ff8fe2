package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
)

// sorted returns records in the order of the seed. A nil value is a removal.
func sorted(seed uint64, from map[string][]byte) records {
	keys := slices.SortedFunc(maps.Keys(from), func(a, b string) int {
		return compare(dataset.Hash(seed, []byte(a)), []byte(a), dataset.Hash(seed, []byte(b)), []byte(b))
	})
	return func(yield func(dataset.Record, error) bool) {
		var r dataset.Record // whose bytes are reused, as a Reader does
		for _, k := range keys {
			r.Key, r.Value, r.Removed = append(r.Key[:0], k...), append(r.Value[:0], from[k]...), from[k] == nil
			if !yield(r, nil) {
				return
			}
		}
	}
}

func sum(seed uint64, of map[string][]byte) (t tally) {
	for k, v := range of {
		t.state.Add(seed, dataset.AppendRecord(nil, dataset.Record{Key: []byte(k), Value: v}))
		t.payload += uint64(len(k) + len(v))
	}
	return t
}

// A replay of random deltas leads to the sums that a map leads to, for each delta.
func TestReplayIsLikeAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		seed := random.Uint64()
		content, base := map[string][]byte{}, map[string][]byte{}
		for range random.IntN(60) {
			content[fmt.Sprint(random.IntN(80))] = fmt.Append([]byte{}, random.IntN(5))
		}
		maps.Copy(base, content)
		var deltas []records
		var want []tally
		for range random.IntN(8) {
			delta := map[string][]byte{}
			for range random.IntN(20) {
				key := fmt.Sprint(random.IntN(80))
				delete(delta, key)
				if delta[key] = nil; random.IntN(3) > 0 {
					delta[key] = fmt.Append([]byte{}, random.IntN(5))
				}
			}
			for key, value := range delta {
				if value == nil {
					delete(content, key) // also a key that is not there
				} else {
					content[key] = value
				}
			}
			deltas = append(deltas, sorted(seed, delta))
			want = append(want, sum(seed, content))
		}
		changes, err := replay(t.Context(), seed, sorted(seed, base), deltas)
		if err != nil {
			t.Fatal(err)
		}
		at := sum(seed, base)
		for i, change := range changes {
			if at.add(change); at != want[i] {
				t.Fatalf("round %d: delta %d leads to %+v, want %+v", round, i+1, at, want[i])
			}
		}
	}
}

func TestReplayEndsWithAnError(t *testing.T) {
	broken := errors.New("broken")
	fails := func(yield func(dataset.Record, error) bool) { yield(dataset.Record{}, broken) }
	one := sorted(1, map[string][]byte{"a": {1}})
	if _, err := replay(t.Context(), 1, fails, []records{one}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if _, err := replay(t.Context(), 1, one, []records{one, fails}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := replay(ctx, 1, one, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestTextOfRanges(t *testing.T) {
	var ranges []Range
	for _, version := range []uint64{1, 2, 2, 3, 5, 9, 10} {
		ranges = extend(ranges, version)
	}
	for _, c := range []struct {
		ranges []Range
		want   string
	}{
		{[]Range{{7, 7}}, "version 7"},
		{[]Range{{7, 9}}, "versions 7 to 9"},
		{ranges, "versions 1 to 3, 5 and 9 to 10"},
		{[]Range{{1, 1}, {3, 3}, {5, 5}, {7, 7}, {9, 9}, {11, 11}, {13, 13}, {15, 15}, {17, 17}}, "versions 1, 3, 5, 7, 9, 11, 13, 15 and 1 more ranges"},
	} {
		if got := Text(c.ranges); got != c.want {
			t.Errorf("%v is %q, want %q", c.ranges, got, c.want)
		}
	}
	if !contains(ranges, 10) || contains(ranges, 4) || contains(nil, 1) {
		t.Error("contains")
	}
}
