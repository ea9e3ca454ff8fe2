package table

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Changes tells how two versions of a dataset differ that one or more deltas lead between. It is immutable. It holds on
// to both tables and to the deltas as they came, compressed; what it costs follows the deltas and not the tables, which
// share all that did not change.
type Changes struct {
	old, new *Table
	deltas   [][]snapshot.Stored
	replaced int64
}

// Old returns the table before the changes.
func (c *Changes) Old() *Table { return c.old }

// New returns the table after the changes.
func (c *Changes) New() *Table { return c.new }

// Replaced returns how many bytes can be freed once nobody uses the old table: those that the new one does not share, those
// of tables in between, and what it took to make them. A [Reclaimer] wants to know.
func (c *Changes) Replaced() int64 { return c.replaced }

// Then returns the changes of c and of next together. They lead from c's old table to the new table of next, whose old
// one must be c's new one.
func (c *Changes) Then(next *Changes) *Changes {
	if c.new != next.old {
		panic("table: Changes.Then: the changes do not follow on each other")
	}
	return &Changes{old: c.old, new: next.new, deltas: slices.Concat(c.deltas, next.deltas), replaced: c.replaced + next.replaced}
}

// All returns an iterator over the records that differ, each once and in the order of (hash, key). It decodes the
// deltas and looks each key up in both tables, so it costs what they hold. It may be used more than once.
//
// Keys and values alias the tables' memory, as those of [Table.Get] do: Old that of the old table, the others that of
// the new one, or of the old one if the record was removed.
func (c *Changes) All() iter.Seq[snapshot.Change] {
	if len(c.deltas) > 1 {
		return c.merged()
	}
	return func(yield func(snapshot.Change) bool) {
		for key := range c.keys() {
			if change, differs := compare(c.old, c.new, key); differs && !yield(change) {
				return
			}
		}
	}
}

// keys returns an iterator over the keys in the deltas, one delta after the other. A key is valid until the next one is
// asked for.
func (c *Changes) keys() iter.Seq[[]byte] {
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

// merged is All for several deltas: a record that more than one of them changed is yielded once, if it differs at all.
func (c *Changes) merged() iter.Seq[snapshot.Change] {
	return func(yield func(snapshot.Change) bool) {
		type keyed struct {
			hash uint64
			snapshot.Change
		}
		var all []keyed
		for key := range c.keys() {
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
			if !yield(all[i].Change) {
				return
			}
		}
	}
}
