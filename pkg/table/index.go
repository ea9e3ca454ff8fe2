package table

import (
	"math/bits"
	"slices"
)

// place says where a hash belongs in an index: page, home in the page, and the tag that its slot has.
type place struct {
	page, home int
	tag        uint32
}

// place returns where hash belongs in p's index. Page and home are the hash, without the bits that the whole partition
// has in common, scaled to their number; the tag is the fraction that this leaves. So places are in the order of hashes.
func (p *partition) place(hash uint64) place {
	x := hash << (p.bits & 63)
	home, fraction := bits.Mul64(x<<pageBits, uint64(p.homes))
	return place{int(x >> (64 - pageBits)), int(home), uint32(fraction>>32) &^ (1<<(p.shift&31) - 1)}
}

// sweep fills a new partition's index with records in the order of (hash, key).
type sweep struct {
	p         *partition
	slots     []uint32 // all pages
	pageSlots int
	page      int // the page filled last, and its slot after the one filled last
	next      int
}

// newSweep begins the index of p, whose slab and bits are set, for the given number of records.
func newSweep(p *partition, records int) sweep {
	p.records = uint32(records)
	p.shift = shiftFor(len(p.slab))
	// The allocator rounds up: use what it gives.
	slots := slices.Grow([]uint32(nil), indexPages*(homesFor(records)+spareSlots))
	pageSlots := cap(slots) / indexPages
	p.homes, p.spare = uint32(pageSlots-spareSlots), spareSlots
	return sweep{p: p, slots: slots[:pageSlots*indexPages], pageSlots: pageSlots}
}

// add enters the record of the given hash that lies at offset in the slab.
func (x *sweep) add(hash uint64, offset uint32) {
	at := x.p.place(hash)
	if at.page != x.page {
		x.page, x.next = at.page, 0
	}
	// Homes come in order too: the slot after the one filled last is always free.
	slot := max(at.home, x.next)
	if x.next = slot + 1; x.next == x.pageSlots {
		x.widen()
	}
	x.slots[x.page*x.pageSlots+slot] = at.tag | (offset + 1)
}

// widen gives all pages more spare slots.
func (x *sweep) widen() {
	wider := x.pageSlots + x.pageSlots/8 + spareSlots
	slots := make([]uint32, wider*indexPages)
	for i := range indexPages {
		copy(slots[i*wider:], x.slots[i*x.pageSlots:(i+1)*x.pageSlots])
	}
	x.p.spare += uint32(wider - x.pageSlots)
	x.slots, x.pageSlots = slots, wider
}

// finish gives the index to the partition.
func (x *sweep) finish() { x.p.setPages(x.slots) }

// setPages makes slots, memory for all pages side by side, p's index.
func (p *partition) setPages(slots []uint32) {
	n := p.pageSlots()
	for i := range p.pages {
		p.pages[i] = &slots[i*n]
	}
	p.backed, p.pageBytes = 1<<indexPages-1, 0
}
