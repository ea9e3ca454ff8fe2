package table

import (
	"bytes"

	"freshet.dev/pkg/dataset"
)

// Cursor iterates over a table's records in the order of (hash, key), as [Table.All] does. It is for a reader that pauses, or that
// continues where an earlier one ended. One goroutine may use a cursor at a time.
type Cursor struct {
	cursor tableCursor
	// held is true if the cursor stands on a record that Next has not returned.
	held bool
}

// After returns a cursor on the first record after the position of key, or on the first record if key is nil. The table need not have a
// record with the key. The order depends only on the dataset's seed: a key of one version is a position in all versions with that seed.
// The cost is that of walking one partition's records.
func (t *Table) After(key []byte) *Cursor {
	if key == nil {
		return &Cursor{cursor: t.cursor(0, len(t.partitions))}
	}
	hash := dataset.Hash(t.seed, key)
	entry := int(hash >> (t.shift & 63))
	c := &Cursor{cursor: t.cursor(entry, len(t.partitions))}
	p := t.partitions[entry]
	page := hash << (p.bits & 63) >> (64 - pageBits)
	c.cursor.cursor = cursor{p: p, page: int(page)}
	_, c.cursor.i = t.extent(entry)
	for c.cursor.next() {
		if h := c.cursor.hash(); h > hash || h == hash && bytes.Compare(c.cursor.record.Key, key) > 0 {
			c.held = true
			break
		}
	}
	return c
}

// Next returns the next record; ok is false after the last. Key and value alias the table's memory; see [Table.Get].
func (c *Cursor) Next() (key, value []byte, ok bool) {
	if !c.held && !c.cursor.next() {
		return nil, nil, false
	}
	c.held = false
	return c.cursor.record.Key, c.cursor.record.Value, true
}
