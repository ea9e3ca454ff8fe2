package versions

import (
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
)

const (
	// batchRecords and BatchBytes bound the queries of one batch, and with that their memory.
	batchRecords = 1024
	// BatchBytes is far more than a record: one value always fits.
	BatchBytes = 8 << 20
)

const _ = uint(BatchBytes - dataset.MaxValueBytes - 1)

// Batches yields queries for copies of the entries, in batches of bounded size. A batch is valid until the next. A Lookup of a batch reads each
// block once; the block between two batches is read twice.
func Batches(seed uint64, entries iter.Seq2[dataset.Record, error]) iter.Seq2[[]Query, error] {
	return func(yield func([]Query, error) bool) {
		var batch []Query
		size := 0
		for r, err := range entries {
			if err != nil {
				yield(nil, err)
				return
			}
			data := slices.Concat(r.Key, r.Value)
			own := dataset.Record{Key: data[:len(r.Key):len(r.Key)], Value: data[len(r.Key):], Removed: r.Removed}
			batch = append(batch, Query{Record: own, Hash: dataset.Hash(seed, r.Key)})
			if size += len(data); len(batch) == batchRecords || size >= BatchBytes {
				if !yield(batch, nil) {
					return
				}
				batch, size = batch[:0], 0
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}
