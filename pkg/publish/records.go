package publish

import (
	"iter"

	"freshet.dev/pkg/dataset"
)

// Pairs returns the Input.Records of a sequence of keys and values, such as [maps.All] of a map. The sequence cannot report an error: one
// that ends early because its source failed would publish a part of the records. Such a source yields records and errors itself.
func Pairs[K, V ~string | ~[]byte](pairs iter.Seq2[K, V]) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		var r dataset.Record
		for k, v := range pairs {
			r.Key, r.Value = append(r.Key[:0], k...), append(r.Value[:0], v...)
			if !yield(r, nil) {
				return
			}
		}
	}
}
