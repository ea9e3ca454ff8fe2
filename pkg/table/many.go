package table

import "freshet.dev/pkg/dataset"

// batch is how many lookups GetMany has under way: about as many cache misses as a core can have outstanding.
const batch = 16

// GetMany looks up keys[i] and stores its value in values[i], nil if there is no such record; an empty value is not
// nil. It returns the number of records found. It panics if values is shorter than keys. What [Table.Get] says of
// values holds here too.
//
// It is the faster way to look up more than a few keys: it asks for the memory that all lookups of a batch need
// before it waits for the first. In a large table that takes a third of the time of Get, and a sixth if the values are
// then read.
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
		// Nearly always this is the one. If the record only has the same tag, or the key is long, search again.
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
