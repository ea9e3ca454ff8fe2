package table

import (
	"math/bits"
	"slices"
)

// place is the position of a hash in an index: the page, the home in the page, and the tag of its slot.
type place struct {
	page, home int
	tag        uint32
}

// place returns the place of hash in p's index. Page and home are the hash, without the bits that the whole partition has
// in common, scaled to their number; the tag is the remaining fraction. So places are in the order of hashes.
func (p *partition) place(hash uint64) place {
	x := hash << (p.bits & 63)
	home, fraction := bits.Mul64(x<<pageBits, uint64(p.homes))
	return place{int(x >> (64 - pageBits)), int(home), uint32(fraction>>32) &^ (1<<(p.shift&31) - 1)}
}

// indexBuilder builds a new partition's index, in one pass over records in the order of (hash, key).
type indexBuilder struct {
	p         *partition
	slots     []uint32 // all pages
	pageSlots int
	page      int // the current page
	next      int // the slot of page after the one filled last
}

// newIndexBuilder starts the index of p, whose slab and bits are set, for the given number of records.
func newIndexBuilder(p *partition, records int) indexBuilder {
	p.records = uint32(records)
	p.shift = shiftFor(len(p.slab))
	// The allocator rounds up: use the whole capacity.
	slots := slices.Grow([]uint32(nil), indexPages*(homesFor(records)+spareSlots))
	pageSlots := cap(slots) / indexPages
	p.homes, p.spare = uint32(pageSlots-spareSlots), spareSlots
	return indexBuilder{p: p, slots: slots[:pageSlots*indexPages], pageSlots: pageSlots}
}

// add adds the record of the given hash at offset in the slab.
func (x *indexBuilder) add(hash uint64, offset uint32) {
	at := x.p.place(hash)
	if at.page != x.page {
		x.page, x.next = at.page, 0
	}
	// Homes arrive in order, too: the slot after the one filled last is always free.
	slot := max(at.home, x.next)
	if x.next = slot + 1; x.next == x.pageSlots {
		x.widen()
	}
	x.slots[x.page*x.pageSlots+slot] = at.tag | (offset + 1)
}

// widen gives all pages more spare slots.
func (x *indexBuilder) widen() {
	wider := x.pageSlots + x.pageSlots/8 + spareSlots
	slots := make([]uint32, wider*indexPages)
	for i := range indexPages {
		copy(slots[i*wider:], x.slots[i*x.pageSlots:(i+1)*x.pageSlots])
	}
	x.p.spare += uint32(wider - x.pageSlots)
	x.slots, x.pageSlots = slots, wider
}

// finish sets the partition's index.
func (x *indexBuilder) finish() { x.p.setPages(x.slots) }

// setPages sets p's index to slots, the contiguous memory of all pages.
func (p *partition) setPages(slots []uint32) {
	n := p.pageSlots()
	for i := range p.pages {
		p.pages[i] = &slots[i*n]
	}
	p.backed, p.pageBytes = 1<<indexPages-1, 0
}
