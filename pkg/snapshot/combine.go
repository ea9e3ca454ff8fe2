package snapshot

import (
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Combine returns the entries of one delta that does what deltas do one after the other: for each key the entry of the last delta that has
// one, in the order of (hash, key). The order of each delta must be the same, with the given seed, as [Reader.Records] of a delta is.
// An entry may change nothing: a later delta can restore what an earlier one changed. Combine holds one entry of each input; an entry is
// valid until the next iteration.
//
// Combine ends at the first error of an input, or with an error that wraps [ErrOrder]. It yields the error once, last, with a zero record.
func Combine(seed uint64, deltas ...iter.Seq2[dataset.Record, error]) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		all := overlay{last: input{seed: seed}}
		defer all.stop()
		for i, d := range deltas {
			if err := all.add(i, seed, d); err != nil {
				yield(dataset.Record{}, fmt.Errorf("combine: %w", err))
				return
			}
		}
		for all.live() {
			if !yield(all.entry(), nil) {
				return
			}
			if err := all.advance(); err != nil {
				yield(dataset.Record{}, fmt.Errorf("combine: %w", err))
				return
			}
		}
	}
}
