package table

// alignment walks the directories of two tables in parallel, one range of hashes after the other: the smallest ranges that no partition of
// either table exceeds.
type alignment struct {
	table, other *Table
	// more and otherMore are how many bits the directory entries of a table have less than positions, which count the entries of the
	// larger directory.
	more, otherMore int
	at, last        int // positions

	// The current range is the directory entries [first, end) of table, and [otherFirst, otherEnd) of other. shared is true if both
	// tables have one and the same partition there.
	first, end           int
	otherFirst, otherEnd int
	shared               bool
}

// align returns the alignment of two tables, before the first range.
func align(table, other *Table) alignment {
	bits := int(table.dirBits()) - int(other.dirBits())
	a := alignment{table: table, other: other, more: max(-bits, 0), otherMore: max(bits, 0)}
	a.last = len(table.partitions) << a.more
	return a
}

// next goes to the next range. It returns false after the last.
func (a *alignment) next() bool {
	if a.at == a.last {
		return false
	}
	a.first, a.otherFirst = a.at>>a.more, a.at>>a.otherMore
	_, end := a.table.extent(a.first)
	_, otherEnd := a.other.extent(a.otherFirst)
	// One of the two ranges contains the other, and both begin at the same position.
	next := max(end<<a.more, otherEnd<<a.otherMore)
	a.shared = a.table.partitions[a.first] == a.other.partitions[a.otherFirst] && end<<a.more == otherEnd<<a.otherMore
	a.end, a.otherEnd = next>>a.more, next>>a.otherMore
	a.at = next
	return true
}
