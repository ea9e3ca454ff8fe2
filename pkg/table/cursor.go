package table

import "freshet.dev/pkg/dataset"

// cursor iterates over a partition's records in the order of (hash, key), which is the order of its index.
type cursor struct {
	p    *partition
	page int
	rest []uint32 // the page's remaining slots
}

// next returns the value of the next record's slot without its tag, or 0 after the last.
func (c *cursor) next() uint32 {
	for {
		for i, slot := range c.rest {
			if slot != 0 {
				c.rest = c.rest[i+1:]
				return slot & (1<<(c.p.shift&31) - 1)
			}
		}
		if c.page == indexPages {
			return 0
		}
		c.rest = c.p.page(c.page)
		c.page++
	}
}

// tableCursor iterates over a table's records in the order of (hash, key).
type tableCursor struct {
	t      *Table
	i, end int // the remaining directory entries
	cursor
	record dataset.Record // the current record, which aliases the table's memory
}

// cursor returns a cursor over the partitions of the directory entries [first, end).
func (t *Table) cursor(first, end int) tableCursor {
	return tableCursor{t: t, i: first, end: end, cursor: cursor{page: indexPages}}
}

// next moves to the next record. It returns false after the last.
func (c *tableCursor) next() bool {
	for {
		if off := c.cursor.next(); off != 0 {
			c.record, _ = c.p.decode(off)
			return true
		}
		if c.i == c.end {
			return false
		}
		c.cursor = cursor{p: c.t.partitions[c.i]}
		_, c.i = c.t.extent(c.i)
	}
}

// hash returns the hash of the current record.
func (c *tableCursor) hash() uint64 { return dataset.Hash(c.t.seed, c.record.Key) }

// decode returns the record at off, the value of a slot without its tag, and its encoding.
func (p *partition) decode(off uint32) (dataset.Record, []byte) { return decode(p.encoded(off)) }

// decode returns the first record of b, memory of a partition, and its encoding.
func decode(b []byte) (dataset.Record, []byte) {
	r, n, err := dataset.DecodeRecord(b)
	if err != nil {
		panic("table: a record changed after it was verified; was a value modified?")
	}
	return r, b[:n:n]
}

// lookup returns the record with the given key, and reports whether there is one.
func (t *Table) lookup(key []byte) (dataset.Record, bool) {
	hash := dataset.Hash(t.seed, key)
	p := t.partitions[hash>>(t.shift&63)]
	for s, tag, limit := p.find(hash); s.load() != 0; s = s.next() {
		if off := s.load() ^ tag; off < limit {
			if r, _ := p.decode(off); string(r.Key) == string(key) {
				return r, true
			}
		}
	}
	return dataset.Record{}, false
}
