package table

import "freshet.dev/pkg/dataset"

// batch is the number of lookups that GetMany has in flight: about as many cache misses as a core can have outstanding.
const batch = 16

// GetMany looks up keys[i] and stores its value in values[i], or nil if there is no such record. It returns the number of
// records found. It panics if values is shorter than keys. The values are as those of [Table.Get].
//
// GetMany is faster than Get for more than a few keys: it prefetches the memory of all lookups of a batch before it waits
// for the first. In a large table it takes a third of the time of Get, and a sixth if the caller then reads the values.
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
		partitions [batch]*partition
		hashes     [batch]uint64
		records    [batch]record
	)
	for i, key := range keys {
		hash := dataset.Hash(t.seed, key)
		p := t.partitions[hash>>(t.shift&63)]
		s, _, _ := p.find(hash)
		prefetch(s.at)
		partitions[i&(batch-1)], hashes[i&(batch-1)] = p, hash
	}
	for i := range keys {
		p, hash := partitions[i&(batch-1)], hashes[i&(batch-1)]
		for s, tag, limit := p.find(hash); s.load() != 0; s = s.next() {
			if off := s.load() ^ tag; off < limit {
				r := p.record(off)
				prefetchRecord(r.at)
				records[i&(batch-1)] = r
				break
			}
		}
	}
	for i, key := range keys {
		r := records[i&(batch-1)]
		values[i] = nil
		if r.at == nil {
			continue
		}
		// The record nearly always has the key. If it only has the same tag, or the key is long, search again.
		head, n := r.header()
		ok := len(key) <= maxShortKey && r.keyLen() == len(key) && equal(r.bytes(head, len(key)), key)
		if ok {
			values[i] = r.bytes(head+len(key), n)
		} else {
			values[i], ok = t.Get(key)
		}
		if ok {
			found++
		}
	}
	return found
}
