package table

import (
	"bytes"
	"cmp"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Diff returns an iterator over the records that differ between two tables, in the order of (hash, key). It compares the
// tables record by record, but skips the partitions that they share because no delta has changed them. It does not
// allocate. Keys and values alias the tables' memory, as those of [Changes.All] do.
//
// Tables with different seeds have different orders. Diff then looks up each record of one in the other, and yields added
// records last.
func Diff(old, new *Table) iter.Seq[snapshot.Change] { return DiffPaced(old, new, always) }

// DiffPaced is Diff for work that shares its processor: the iterator also calls pace before each record that it compares, whether the record
// differs or not, and ends if pace returns false.
func DiffPaced(old, new *Table, pace func() bool) iter.Seq[snapshot.Change] {
	if old.seed != new.seed {
		return diffUnordered(old, new, pace)
	}
	return func(yield func(snapshot.Change) bool) {
		for w := align(old, new); w.next(); {
			if w.shared {
				continue
			}
			a, b := old.cursor(w.first, w.end), new.cursor(w.otherFirst, w.otherEnd)
			if !diffOrdered(&a, &b, pace, yield) {
				return
			}
		}
	}
}

// diffOrdered yields the changes from the records of a to those of b. It returns false if yield does.
func diffOrdered(a, b *tableCursor, pace func() bool, yield func(snapshot.Change) bool) bool {
	inA, inB := a.next(), b.next()
	for inA || inB {
		if !pace() {
			return false
		}
		order := 0
		switch {
		case !inB:
			order = -1
		case !inA:
			order = 1
		default:
			order = cmp.Or(cmp.Compare(a.hash(), b.hash()), bytes.Compare(a.record.Key, b.record.Key))
		}
		var change snapshot.Change
		switch {
		case order < 0:
			change = removed(a.record)
		case order > 0:
			change = added(b.record)
		case !bytes.Equal(a.record.Value, b.record.Value):
			change = changed(a.record, b.record)
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

func diffUnordered(old, new *Table, pace func() bool) iter.Seq[snapshot.Change] {
	return func(yield func(snapshot.Change) bool) {
		for key := range old.All() {
			if !pace() {
				return
			}
			if change, differs := compare(old, new, key); differs && !yield(change) {
				return
			}
		}
		for key, value := range new.All() {
			if !pace() {
				return
			}
			if _, ok := old.lookup(key); !ok && !yield(added(dataset.Record{Key: key, Value: value})) {
				return
			}
		}
	}
}

// compare returns the change of the record with the given key between two tables, and reports whether it differs.
func compare(old, new *Table, key []byte) (snapshot.Change, bool) {
	before, inOld := old.lookup(key)
	after, inNew := new.lookup(key)
	switch {
	case inOld && inNew:
		return changed(before, after), !bytes.Equal(before.Value, after.Value)
	case inNew:
		return added(after), true
	case inOld:
		return removed(before), true
	}
	return snapshot.Change{}, false
}

func added(after dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Added, Key: after.Key, New: after.Value}
}

func removed(before dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Removed, Key: before.Key, Old: before.Value}
}

func changed(before, after dataset.Record) snapshot.Change {
	return snapshot.Change{Op: snapshot.Changed, Key: after.Key, Old: before.Value, New: after.Value}
}
