package table

import (
	"unsafe"

	"freshet.dev/pkg/dataset"
)

// batch is how many lookups GetMany has under way: about as many cache misses as a core can have outstanding.
const batch = 16

// GetMany looks up keys[i] and stores its value in values[i], nil if there is no such record; an empty value is not
// nil. It returns the number of records found. It panics if values is shorter than keys. What [Table.Get] says of
// values holds here too.
//
// It is the faster way to look up more than a few keys: it asks for the memory that all lookups of a batch need
// before it waits for the first.
func (t *Table) GetMany(keys, values [][]byte) (found int) {
	values = values[:len(keys)]
	for len(keys) > batch {
		found += t.getBatch(keys[:batch], values[:batch])
		keys, values = keys[batch:], values[batch:]
	}
	return found + t.getBatch(keys, values)
}

func (t *Table) getBatch(keys, values [][]byte) (found int) {
	var (
		parts  [batch]*partition
		hashes [batch]uint64
		at     [batch]int
	)
	for i, key := range keys {
		hash := dataset.Hash(t.seed, key)
		p := t.partitions[hash>>(t.shift&63)]
		home := p.home(hash)
		prefetch(unsafe.Pointer(&p.slots[home]))
		parts[i&(batch-1)], hashes[i&(batch-1)], at[i&(batch-1)] = p, hash, home
	}
	for i := range keys {
		p, hash := parts[i&(batch-1)], hashes[i&(batch-1)]
		slot, off := p.candidate(hash, at[i&(batch-1)])
		at[i&(batch-1)] = slot
		if off > 0 {
			prefetch(unsafe.Pointer(&p.slab[off-1]))
		}
	}
	for i, key := range keys {
		value, ok := parts[i&(batch-1)].find(key, hashes[i&(batch-1)], at[i&(batch-1)])
		if values[i] = value; ok {
			found++
		}
	}
	return found
}

// candidate returns the first slot from at on that can be that of hash, and the record's offset plus 1. The offset
// is 0 if there is none; the slot is then a free one.
func (p *partition) candidate(hash uint64, at int) (slot int, off uint32) {
	tag, limit := uint32(hash)<<(p.shift&31), uint32(1)<<(p.shift&31)
	for {
		s := p.slots[at]
		if s == 0 {
			return at, 0
		}
		if off := s ^ tag; off < limit {
			return at, off
		}
		at++
	}
}
