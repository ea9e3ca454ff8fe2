package table

import (
	"bytes"
	"cmp"
	"fmt"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

const (
	// targetBytes is how large a partition of a fresh snapshot may be; see the package snapshot. One of more than twice
	// that is split.
	targetBytes = 384 << 10
	// leastBytes is how large the partitions that others are split to are on average at least: a bound for the directory.
	leastBytes = 64 << 10
	// leastRecords is how many records the partitions that others are split to have at least, on average.
	leastRecords = 8
	// maxPartition is a bound for offsets, which leaves some bits for tags. A partition that would pass it is split.
	maxPartition = 256 << 20
)

// A group of the largest size that a version may have fits in a partition; see [dataset.GroupBits].
const _ = uint(maxPartition - snapshot.MaxBlockRaw)

// rebuildShare is the part of the table's bytes that one delta rebuilds because it is time for it; leastBudget is allowed
// always. What must be is rebuilt beside. It spreads the work that is due for all partitions at about the same
// time, as after a load, and bounds what a refresh adds to the memory.
//
// More rebuilt is less in patches, where lookups take longer. After thirty deltas of 1 %, of a 32nd, a 26th and a 20th each,
// the table is 19, 15 and 11 % larger than at first; with a 32nd and a 20th 15 and 9 % of the records are in patches. What
// a refresh adds at its peak is the same, since smaller patches are copied when they grow; only with a 20th it passed 8 %
// of the table once in twelve runs at 1 M records, when the partitions of a load first come due.
const (
	rebuildShare = 24
	leastBudget  = 1 << 20
)

// plan sets what the edits of the partitions are bounded by.
func (a *applier) plan(totals snapshot.Totals) {
	a.budget.Store(max(leastBudget, a.base.bytes/rebuildShare))
	live := uint64(a.base.payload) + totals.RawBytes
	a.maxBits = min(max(a.base.dirBits(), uint8(bits.Len64(live/leastBytes))), snapshot.MaxBits)
}

// action is what an editor does with a partition.
type action int

const (
	patch   action = iota // changes the index and appends to the patch
	compact               // changes the index, with all records in a new slab
	merge                 // makes new partitions, with new indexes
)

// assess decides what is done with p for a number of entries and the bytes of those that are upserts.
func (e *editor) assess(p *partition, entries, upserted int) action {
	records, homes := int(p.records), int(p.homes)*indexPages
	switch {
	case p.used()+upserted > maxPartition,
		entries > records/4,
		p.nextOffset()+upserted >= 1<<p.shift,
		records > homes*9/10,
		p.live()+upserted > 4*targetBytes && e.bitsFor(p, records+entries, p.live()+upserted) > p.bits:
		return merge
	case records > homes*5/6,
		records < homes/4 && homes > homesFor(0)*indexPages*2,
		p.live()+upserted > 2*targetBytes && e.bitsFor(p, records+entries, p.live()+upserted) > p.bits:
		if e.afford(p.live()) {
			return merge
		}
	}
	// Nearly every upsert leaves a dead record behind.
	worn := int(p.dead) + int(p.patchLen) + 2*upserted
	if worn > minPatch && (worn > p.used()/2 || worn > p.used()/4 && e.afford(p.live())) {
		return compact
	}
	return patch
}

// afford takes n from the budget if it has any left.
func (a *applier) afford(n int) bool {
	return a.budget.Load() > 0 && a.budget.Add(-int64(n)) > -int64(n)
}

// bitsFor returns the bits of the partitions that p should become with so many records and bytes.
func (a *applier) bitsFor(p *partition, records, size int) uint8 {
	n := p.bits
	if p.records == 0 {
		n = a.base.dirBits()
	}
	for more := 0; size>>more > targetBytes && records>>more >= 2*leastRecords && n < a.maxBits; more++ {
		n++
	}
	return n
}

// slab returns an empty slab for n bytes of records.
func (a *applier) slab(n int) []byte {
	slab := newSlab(n + slabRoom)
	a.huge.advise(unsafe.Pointer(unsafe.SliceData(slab)), cap(slab))
	return slab
}

// compact gives the draft, all of whose pages are its own, a new slab with all its records in order. No record is
// hashed: each keeps its slot.
func (e *editor) compact() {
	q := &e.draft
	n := q.live() + len(e.added)
	slab := e.slab(n)
	shift := max(q.shift, shiftFor(n))
	for i := range indexPages {
		page := q.page(i)
		for j, slot := range page {
			if slot == 0 {
				continue
			}
			_, encoded := e.recordAt(slot)
			// With fewer bits for tags, the highest remain.
			page[j] = slot&^(1<<shift-1) | uint32(len(slab)+1)
			slab = append(slab, encoded...)
		}
	}
	q.slab, q.shift, q.dead = slab, shift, 0
	q.patch, q.patchLen, q.patchCap = nil, 0, 0
}

// ref is a record of a merge.
type ref struct {
	hash    uint64
	encoded []byte
}

// fit returns the least bits, from to on, of partitions that the records of e.refs fit in. A partition of many long values
// with similar hashes is split further than its average asks for, up to the groups that a publisher bounds; see
// [dataset.GroupBits].
func (e *editor) fit(to uint8) (uint8, error) {
	for ; ; to++ {
		largest := e.largest(to)
		switch {
		case largest <= snapshot.MaxBlockRaw:
			return to, nil
		case to < max(dataset.GroupBits, e.maxBits):
		case largest <= maxPartition:
			return to, nil
		default:
			return 0, fmt.Errorf("%d bytes of records have hashes with the same %d leading bits, the most is %d: "+
				"publish the dataset with fewer or shorter records of such keys", largest, to, maxPartition)
		}
	}
}

// largest returns the bytes of the largest partition that the records of e.refs make with the given bits.
func (e *editor) largest(bits uint8) (largest int) {
	size, number := 0, uint64(0)
	for _, r := range e.refs {
		if n := r.hash >> (64 - bits); n != number {
			size, number = 0, n
		}
		size += len(r.encoded)
		largest = max(largest, size)
	}
	return largest
}

// merge returns what p becomes by its entries: partitions rebuilt of all records. It fails if a group has more than
// maxPartition bytes of records; see fit.
func (e *editor) merge(p *partition, es []entry) ([]*partition, error) {
	e.refs = e.refs[:0]
	size := 0
	keep := func(hash uint64, encoded []byte) {
		e.refs = append(e.refs, ref{hash, encoded})
		size += len(encoded)
	}
	add := func(x *entry) {
		if r, encoded := decode(e.encoded(x)); !r.Removed {
			keep(x.hash, encoded)
			e.edited.payload += int64(len(r.Key) + len(r.Value))
		}
	}
	c := cursor{p: p}
	for off := c.next(); off != 0; off = c.next() {
		r, encoded := p.decode(off)
		hash := dataset.Hash(e.base.seed, r.Key)
		order := 1
		for len(es) > 0 {
			order = cmp.Compare(es[0].hash, hash)
			if order == 0 {
				x, _ := decode(e.encoded(&es[0]))
				order = bytes.Compare(x.Key, r.Key)
			}
			if order > 0 {
				break
			}
			if order == 0 {
				e.forget(r, encoded)
			}
			add(&es[0])
			es = es[1:]
			if order == 0 {
				break
			}
		}
		if order != 0 {
			keep(hash, encoded)
		}
	}
	for i := range es {
		add(&es[i])
	}
	to := e.bitsFor(p, len(e.refs), size)
	if size > snapshot.MaxBlockRaw {
		var err error
		if to, err = e.fit(to); err != nil {
			return nil, err
		}
	}
	return e.build(to, p), nil
}

// build returns partitions of the given bits, made of the records of e.refs, for the range of p.
func (e *editor) build(to uint8, p *partition) []*partition {
	from := p.bits
	if p.records == 0 {
		from = e.base.dirBits()
	}
	by := make([]*partition, 1<<(to-from))
	refs, empty := e.refs, emptyPartition() // one stands for all: there may be a million
	for i := range by {
		n, size := 0, 0
		for n < len(refs) && int(refs[n].hash<<(from&63)>>(64-(to-from))) == i {
			size += len(refs[n].encoded)
			n++
		}
		if n == 0 {
			by[i] = empty
			continue
		}
		q := &partition{bits: to}
		slab := e.slab(size)
		q.slab = slab[:size]
		x := newSweep(q, n)
		for _, r := range refs[:n] {
			x.add(r.hash, uint32(len(slab)))
			slab = append(slab, r.encoded...)
		}
		x.finish()
		by[i], refs = q, refs[n:]
	}
	clear(e.refs)
	return by
}
