package table

import (
	"bytes"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Cursor iterates over a table's records in the order of (hash, key), as [Table.All] does. It is for a reader that pauses, or that
// continues where an earlier one ended. One goroutine may use a cursor at a time.
type Cursor struct {
	cursor tableCursor
	// held is true if the cursor stands on a record that Next has not returned.
	held bool
}

// seek returns a cursor on the first record whose hash is at least hash. It finds the record in the time of a lookup.
func (t *Table) seek(hash uint64) Cursor {
	c := Cursor{cursor: t.cursor(int(hash>>(t.shift&63)), len(t.partitions))}
	p := t.partitions[c.cursor.i]
	_, c.cursor.i = t.extent(c.cursor.i)
	if p.records > 0 {
		// Records with this hash or a higher one have its home, or a later slot.
		at := p.place(hash)
		c.cursor.cursor = cursor{p: p, page: at.page + 1, rest: p.page(at.page)[at.home:]}
	}
	for c.cursor.next() {
		if c.cursor.hash() >= hash {
			c.held = true
			break
		}
	}
	return c
}

// After returns a cursor on the first record after the position of key, or on the first record if key is nil. The table need not have a
// record with the key. The order depends only on the dataset's seed: a key of one version is a position in all versions with that seed.
// The cost is that of a lookup.
func (t *Table) After(key []byte) *Cursor {
	if key == nil {
		return &Cursor{cursor: t.cursor(0, len(t.partitions))}
	}
	hash := dataset.Hash(t.seed, key)
	c := t.seek(hash)
	for c.held && c.cursor.hash() == hash && bytes.Compare(c.cursor.record.Key, key) <= 0 {
		c.held = c.cursor.next()
	}
	return &c
}

// Next returns the next record; ok is false after the last. Key and value alias the table's memory; see [Table.Get].
func (c *Cursor) Next() (key, value []byte, ok bool) {
	if !c.held && !c.cursor.next() {
		return nil, nil, false
	}
	c.held = false
	return c.cursor.record.Key, c.cursor.record.Value, true
}

// From returns an iterator over the keys and values of the records whose hash is at least hash, in the order of (hash, key). It finds the first
// in the time of a lookup. Both alias the table's memory; see [Table.Get]. The hash of a key is [dataset.Hash] with [Table.Seed], the same in
// all versions with this seed.
func (t *Table) From(hash uint64) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		c := t.seek(hash)
		for key, value, ok := c.Next(); ok && yield(key, value); {
			key, value, ok = c.Next()
		}
	}
}
