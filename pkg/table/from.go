package table

import (
	"iter"

	"freshet.dev/pkg/dataset"
)

// From returns an iterator over the keys and values of the records whose hash is at least hash, in the order of (hash, key). It finds the first
// in the time of a lookup. Both alias the table's memory; see [Table.Get]. The hash of a key is [dataset.Hash] with [Table.Seed], the same in
// all versions with this seed.
func (t *Table) From(hash uint64) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		c := t.cursor(int(hash>>(t.shift&63)), len(t.partitions))
		p := t.partitions[c.i]
		_, c.i = t.extent(c.i)
		if p.records > 0 {
			// Records with this hash or a higher one have its home, or a later slot.
			at := p.place(hash)
			c.cursor = cursor{p: p, page: at.page + 1, rest: p.page(at.page)[at.home:]}
		}
		started := false
		for c.next() {
			if !started && dataset.Hash(t.seed, c.record.Key) < hash {
				continue
			}
			started = true
			if !yield(c.record.Key, c.record.Value) {
				return
			}
		}
	}
}
