package table

import (
	"math/bits"
	"unsafe"
)

// As returns the table as another version with the same records, such as a rollback's, and the changes from t to it, which are none. The two
// tables share all memory.
func (t *Table) As(version uint64) (*Table, *Changes) {
	as := *t
	as.version = version
	return &as, &Changes{old: t, new: &as}
}

// Unshared returns the memory of t that other does not share: what becomes free once t is unused while other is in use. It is exact for
// tables of which one was derived from the other, or both from a third, and takes time for the directory and for each partition that
// differs.
func (t *Table) Unshared(other *Table) int64 {
	n := tableBytes
	if unsafe.SliceData(t.partitions) == unsafe.SliceData(other.partitions) {
		return n
	}
	n += directoryBytes(len(t.partitions))
	for w := align(t, other); w.next(); {
		if w.shared {
			continue
		}
		p, q := t.partitions[w.first], other.partitions[w.otherFirst]
		_, end := t.extent(w.first)
		_, otherEnd := other.extent(w.otherFirst)
		if end == w.end && otherEnd == w.otherEnd {
			n += p.unshared(q)
			continue
		}
		for i := w.first; i < w.end; { // a split copies all records
			n += t.partitions[i].bytes()
			_, i = t.extent(i)
		}
	}
	return n
}

// directoryBytes returns the memory of a directory of n entries.
func directoryBytes(n int) int64 { return int64(n) * bits.UintSize / 8 }

// unshared returns the bytes of p that q, a partition of the same range, does not share.
func (p *partition) unshared(q *partition) int64 {
	if p.records == 0 {
		return 0
	}
	n := partitionBytes
	if unsafe.SliceData(p.slab) != unsafe.SliceData(q.slab) {
		n += int64(cap(p.slab))
	}
	if p.patch != q.patch {
		n += int64(p.patchCap)
	}
	for i := range indexPages {
		if p.backed&(1<<i) == 0 && p.pages[i] != q.pages[i] {
			n += int64(p.pageBytes)
		}
	}
	if p.backed != 0 && p.backing() != q.backing() { // one shared page keeps the memory of all pages alive
		n += indexPages * 4 * int64(p.pageSlots())
	}
	return n
}

// backing returns the address of the single allocation for all pages; 0 if no page is part of one.
func (p *partition) backing() uintptr {
	if p.backed == 0 {
		return 0
	}
	i := bits.TrailingZeros8(p.backed)
	return uintptr(unsafe.Pointer(p.pages[i])) - uintptr(i)*4*uintptr(p.pageSlots())
}
