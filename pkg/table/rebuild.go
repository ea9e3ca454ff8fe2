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
	// targetBytes is the largest partition of a fresh snapshot; see package snapshot. Apply splits partitions of more than
	// twice that.
	targetBytes = 384 << 10
	// leastBytes is the least average size of the partitions after a split. It bounds the directory.
	leastBytes = 64 << 10
	// leastRecords is the least average number of records of the partitions after a split.
	leastRecords = 8
	// maxPartition bounds offsets, so that slots have bits left for tags. Apply splits a partition that would exceed it.
	maxPartition = 256 << 20
)

// A group of the largest allowed size fits in a partition; see [dataset.GroupBits].
const _ = uint(maxPartition - snapshot.MaxBlockRaw)

// rebuildShare divides the table's bytes: one delta compacts and rebuilds at most a rebuildShare-th of them, or
// leastBudget. Mandatory rebuilds do not count. The budget spreads the work when many partitions become due at about the
// same time, as after a load, and bounds the memory that a refresh adds.
//
// A larger budget leaves fewer records in patches, where lookups take longer. Measured after thirty deltas of 1 %: with a
// 32nd, a 26th and a 20th the table has grown by 19, 15 and 11 %; with a 32nd and a 20th 15 and 9 % of the records are in
// patches. The peak memory of a refresh is the same, because smaller patches are copied when they grow. Only with a 20th
// it exceeded 8 % of the table once in twelve runs at 1 M records, when the partitions of a load first became due.
const (
	rebuildShare = 24
	leastBudget  = 1 << 20
)

// plan sets the bounds of the edits.
func (a *applier) plan(totals snapshot.Totals) {
	a.budget.Store(max(leastBudget, a.base.bytes/rebuildShare))
	live := uint64(a.base.payload) + totals.RawBytes
	a.maxBits = min(max(a.base.dirBits(), uint8(bits.Len64(live/leastBytes))), snapshot.MaxBits)
}

// action is the way in which an editor edits a partition.
type action int

const (
	patch   action = iota // changes the index and appends to the patch
	compact               // changes the index, and copies all records to a new slab
	merge                 // builds new partitions, with new indexes
)

// assess chooses the action for p, given the number of its entries and the bytes of its upserts.
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
	// Twice the upserts, because nearly every one also leaves a dead record.
	wasted := int(p.dead) + int(p.patchLen) + 2*upserted
	if wasted > minPatch && (wasted > p.used()/2 || wasted > p.used()/4 && e.afford(p.live())) {
		return compact
	}
	return patch
}

// afford subtracts n from the budget if the budget is not used up, and reports whether it did.
func (a *applier) afford(n int) bool {
	return a.budget.Load() > 0 && a.budget.Add(-int64(n)) > -int64(n)
}

// bitsFor returns the bits of the partitions that should replace p for the given number of records and bytes.
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
	slab := newSlab(n + slabSpare)
	a.huge.advise(unsafe.Pointer(unsafe.SliceData(slab)), cap(slab))
	return slab
}

// compact copies all records of the draft, in order, to a new slab. The draft must own all its pages. compact hashes no
// record: each keeps its slot.
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
			// A larger shift leaves fewer bits for tags: keep the highest.
			page[j] = slot&^(1<<shift-1) | uint32(len(slab)+1)
			slab = append(slab, encoded...)
		}
	}
	q.slab, q.shift, q.dead = slab, shift, 0
	q.patch, q.patchLen, q.patchCap = nil, 0, 0
}

// ref is a record in a merge.
type ref struct {
	hash    uint64
	encoded []byte
}

// fit returns the least number of bits, to or more, of partitions that can hold the records of e.refs. A partition with
// many long values of similar hashes needs more bits than its average size suggests, up to the groups that a publisher
// bounds; see [dataset.GroupBits].
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

// largest returns the bytes of the largest partition of the records of e.refs for the given bits.
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

// merge builds partitions from all records of p and its entries es. It fails if a group has more than maxPartition bytes
// of records; see fit.
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
				e.subtract(r, encoded)
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

// build returns the partitions of the given bits for the range of p, with the records of e.refs.
func (e *editor) build(to uint8, p *partition) []*partition {
	from := p.bits
	if p.records == 0 {
		from = e.base.dirBits()
	}
	by := make([]*partition, 1<<(to-from))
	refs, empty := e.refs, emptyPartition() // shared: there may be a million empty partitions
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
		x := newIndexBuilder(q, n)
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
