package table

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Changes describes how two versions of a dataset differ, where deltas lead from one to the other, or back. It is
// immutable. It references both tables and the compressed deltas. Its memory depends on the deltas and not on the size
// of the tables, which share all unchanged parts.
type Changes struct {
	old, new *Table
	deltas   [][]snapshot.Stored
	replaced int64
	// forward is true if the deltas lead from old to new, and false if they lead back or the changes have none.
	forward bool
}

// Old returns the table before the changes.
func (c *Changes) Old() *Table { return c.old }

// New returns the table after the changes.
func (c *Changes) New() *Table { return c.new }

// Replaced returns the bytes that become free once the old table is unused, for [Reclaimer.Replaced]: its memory that the
// new table does not share, that of the tables in between, and the working memory of Apply.
func (c *Changes) Replaced() int64 { return c.replaced }

// Then returns the changes from c's old table to next's new table. It panics unless next's old table is c's new table.
func (c *Changes) Then(next *Changes) *Changes {
	if c.new != next.old {
		panic("table: Changes.Then: next's old table is not c's new table")
	}
	return &Changes{old: c.old, new: next.new, deltas: slices.Concat(c.deltas, next.deltas), replaced: c.replaced + next.replaced}
}

// Reverse returns the changes from c's new table back to its old one. No memory becomes free by them as long as c's new table is in use.
func (c *Changes) Reverse() *Changes { return &Changes{old: c.new, new: c.old, deltas: c.deltas} }

// Deltas returns the number of deltas. An iteration over the changes of several needs memory for all of them; over those of one it does not.
func (c *Changes) Deltas() int { return len(c.deltas) }

// Bytes returns the memory of the compressed deltas.
func (c *Changes) Bytes() (sum int64) {
	for _, delta := range c.deltas {
		for _, block := range delta {
			sum += int64(cap(block.Bytes))
		}
	}
	return sum
}

// All returns an iterator over the records that differ, each once and in the order of (hash, key). It decodes the
// deltas and looks up each of their keys in both tables. The iterator may be used more than once.
//
// Keys and values alias the memory of the tables, as those of [Table.Get] do. Old aliases the old table. Key and New alias
// the new table; the Key of a removed record aliases the old one.
func (c *Changes) All() iter.Seq[snapshot.Change] { return c.Paced(always) }

// always is the pace of an iterator that runs to its end.
func always() bool { return true }

// Paced is All for work that shares its processor: the iterator also calls pace before each key that it reads, whether the record differs or
// not, and ends if pace returns false. Several deltas are sorted without a call; pace is called again before each of their changes.
func (c *Changes) Paced(pace func() bool) iter.Seq[snapshot.Change] {
	if len(c.deltas) > 1 {
		return c.merged(pace)
	}
	return func(yield func(snapshot.Change) bool) {
		for key := range c.Keys() {
			if !pace() {
				return
			}
			if change, differs := compare(c.old, c.new, key); differs && !yield(change) {
				return
			}
		}
	}
}

// briefKeys is the number of keys of a delta in one call of GetMany.
const briefKeys = 64

// Brief returns an iterator over the same changes as All, and is several times as fast. Key and New are valid until the next iteration
// only: they alias the memory of the decoded delta, so that keys need a lookup in the old table alone.
func (c *Changes) Brief() iter.Seq[snapshot.Change] {
	if len(c.deltas) != 1 || !c.forward {
		return c.All()
	}
	return func(yield func(snapshot.Change) bool) {
		var raw []byte
		var records []dataset.Record
		keys, olds := make([][]byte, 0, briefKeys), make([][]byte, briefKeys)
		for _, block := range c.deltas[0] {
			var err error
			if raw, err = block.Decode(raw); err != nil {
				panic("table: a delta changed after it was applied: " + err.Error())
			}
			for b := raw; len(b) > 0; {
				records, keys = records[:0], keys[:0]
				for len(b) > 0 && len(keys) < briefKeys {
					r, encoded := decode(b)
					records, keys = append(records, r), append(keys, r.Key)
					b = b[len(encoded):]
				}
				c.old.GetMany(keys, olds)
				if !yieldBrief(records, olds, yield) {
					return
				}
			}
		}
	}
}

// yieldBrief yields the changes from the old values of the records of a delta. It returns false if yield does.
func yieldBrief(records []dataset.Record, olds [][]byte, yield func(snapshot.Change) bool) bool {
	for i, r := range records {
		change := snapshot.Change{Key: r.Key, Old: olds[i], New: r.Value}
		switch {
		case r.Removed && olds[i] == nil, !r.Removed && olds[i] != nil && bytes.Equal(olds[i], r.Value):
			continue
		case r.Removed:
			change.Op, change.New = snapshot.Removed, nil
		case olds[i] == nil:
			change.Op = snapshot.Added
		default:
			change.Op = snapshot.Changed
		}
		if !yield(change) {
			return false
		}
	}
	return true
}

// Keys returns an iterator over the keys in the deltas, one delta after the other. A key that several deltas change comes several times, also
// if it has the same record in both tables. Keys looks up nothing. A key is valid until the next iteration. The iterator may be used more than
// once.
func (c *Changes) Keys() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var raw []byte
		for _, delta := range c.deltas {
			for _, block := range delta {
				var err error
				if raw, err = block.Decode(raw); err != nil {
					panic("table: a delta changed after it was applied: " + err.Error())
				}
				for b := raw; len(b) > 0; {
					r, encoded := decode(b)
					if !yield(r.Key) {
						return
					}
					b = b[len(encoded):]
				}
			}
		}
	}
}

// merged implements Paced for several deltas. It yields a record that several deltas changed once, if it differs at all.
func (c *Changes) merged(pace func() bool) iter.Seq[snapshot.Change] {
	return func(yield func(snapshot.Change) bool) {
		type keyed struct {
			hash uint64
			snapshot.Change
		}
		var all []keyed
		for key := range c.Keys() {
			if !pace() {
				return
			}
			if change, differs := compare(c.old, c.new, key); differs {
				all = append(all, keyed{dataset.Hash(c.old.seed, key), change})
			}
		}
		order := func(a, b keyed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), bytes.Compare(a.Key, b.Key)) }
		slices.SortFunc(all, order)
		for i := range all {
			if i > 0 && order(all[i-1], all[i]) == 0 {
				continue
			}
			if !pace() || !yield(all[i].Change) {
				return
			}
		}
	}
}
