package table

import (
	"bytes"
	"cmp"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Diff returns an iterator over the records that differ between two tables, in the order of (hash, key). It compares
// them record by record, but passes over what they share: partitions that no delta between them has changed. It needs
// no memory. Keys and values alias the tables' memory, as those of [Changes.All] do.
//
// If the tables' seeds differ, so that their orders do, each record of one is looked up in the other, and those that
// were added come last.
func Diff(old, new *Table) iter.Seq[snapshot.Change] {
	if old.seed != new.seed {
		return diffUnordered(old, new)
	}
	return func(yield func(snapshot.Change) bool) {
		// Positions count directory entries of the table that has more of them.
		oldMore, newMore := 0, int(new.dirBits())-int(old.dirBits())
		if newMore > 0 {
			oldMore, newMore = newMore, 0
		}
		newMore = -newMore
		for at, end := 0, len(old.partitions)<<oldMore; at < end; {
			i, j := at>>oldMore, at>>newMore
			_, oldEnd := old.extent(i)
			_, newEnd := new.extent(j)
			// Of two ranges one holds the other, and they begin at the same place: compare the larger.
			next := max(oldEnd<<oldMore, newEnd<<newMore)
			if old.partitions[i] != new.partitions[j] || oldEnd<<oldMore != newEnd<<newMore {
				a, b := old.cursor(i, next>>oldMore), new.cursor(j, next>>newMore)
				if !diffOrdered(&a, &b, yield) {
					return
				}
			}
			at = next
		}
	}
}

// diffOrdered yields how the records of b differ from those of a. It returns false when yield did.
func diffOrdered(a, b *tableCursor, yield func(snapshot.Change) bool) bool {
	inA, inB := a.next(), b.next()
	for inA || inB {
		order := 0
		switch {
		case !inB:
			order = -1
		case !inA:
			order = 1
		default:
			order = cmp.Or(cmp.Compare(a.hash(), b.hash()), bytes.Compare(a.record.Key, b.record.Key))
		}
		was, is := a.record, b.record
		var change snapshot.Change
		switch {
		case order < 0:
			change = removed(was)
		case order > 0:
			change = added(is)
		case !bytes.Equal(was.Value, is.Value):
			change = changed(was, is)
		}
		if change.Op != 0 && !yield(change) {
			return false
		}
		if order <= 0 {
			inA = a.next()
		}
		if order >= 0 {
			inB = b.next()
		}
	}
	return true
}

func diffUnordered(old, new *Table) iter.Seq[snapshot.Change] {
	return func(yield func(snapshot.Change) bool) {
		for key := range old.All() {
			if change, differs := compare(old, new, key); differs && !yield(change) {
				return
			}
		}
		for key, value := range new.All() {
			if _, ok := old.lookup(key); !ok && !yield(added(dataset.Record{Key: key, Value: value})) {
				return
			}
		}
	}
}

// compare returns how the record with the given key differs between two tables, and whether it does.
func compare(old, new *Table, key []byte) (snapshot.Change, bool) {
	was, before := old.lookup(key)
	is, after := new.lookup(key)
	switch {
	case before && after:
		return changed(was, is), !bytes.Equal(was.Value, is.Value)
	case after:
		return added(is), true
	case before:
		return removed(was), true
	}
	return snapshot.Change{}, false
}

func added(is dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Added, Key: is.Key, New: is.Value}
}

func removed(was dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Removed, Key: was.Key, Old: was.Value}
}

func changed(was, is dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Changed, Key: is.Key, Old: was.Value, New: is.Value}
}
