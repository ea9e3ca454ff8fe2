package table

import (
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/snapshot"
)

// indexPages is the number of pages of a partition's index: a change copies one of them, some 1.5 KiB, and not the whole
// index. With more pages a partition would be more than two cache lines, which every lookup reads.
const (
	pageBits   = 3
	indexPages = 1 << pageBits
)

// partition holds the records of one range of hashes. It is immutable once built, and has 128 bytes: two cache lines,
// of which a lookup reads the first and one word of the second.
type partition struct {
	// slab holds encoded records, patch those that deltas have added; see patch.go. A record never moves, so values
	// may alias it.
	slab               []byte
	patch              *byte
	patchLen, patchCap uint32

	// homes is how many of a page's slots are a home, spare how many follow, for what the last homes have no room for.
	homes, spare uint32
	records      uint32
	dead         uint32 // bytes in slab and patch that no slot points to
	pageBytes    uint32 // memory of a page that was allocated alone; 0 if none is
	shift        uint8
	// bits is the number of leading bits that all hashes of the partition have in common.
	bits uint8
	// backed has a bit for each page that lies in the memory allocated for all of them at once.
	backed uint8

	// pages is the index, in the order of hashes. A slot that is not 0 is a record's offset plus 1 in the low shift bits
	// and a tag of its hash above them. Offsets from len(slab) on are those of patch. A record lies in the slot that is
	// its home or in one after it before the first that is 0, and records stand in the order of (hash, key): where each
	// lies follows from their hashes alone, in whatever order they came. The last slot of a page is always 0, so that
	// every search ends.
	pages [indexPages]*uint32
}

// partitionBytes is the size of a partition without what it points to.
const partitionBytes = int64(unsafe.Sizeof(partition{}))

// spareSlots is how many slots follow the last home of a page at first. It is made more for a partition that needs it.
const spareSlots = 8

// homesFor returns the number of homes of a page, for the records of all pages: a load of about 3/4. More room makes no
// lookup of a record faster, which waits for memory: with 2/3 only misses took a tenth less, for 1 B a record. Less makes
// searches long, the more so since hashes fill some pages a tenth more than others.
func homesFor(records int) int { return (records+records/3)/indexPages + 4 }

// shiftFor returns the number of bits for offsets plus 1 of a slab of n bytes, and of as many in patch as it may have.
func shiftFor(n int) uint8 { return uint8(bits.Len(uint(n + n/2 + minPatch))) }

// emptyPartition returns a partition without records, which may stand for any range.
func emptyPartition() *partition {
	p := &partition{homes: 1, spare: 1}
	slots := make([]uint32, 2)
	for i := range p.pages {
		p.pages[i] = &slots[0]
	}
	return p
}

// decodePartition decodes the block s into slab, which is empty and has room for it, verifies every record and indexes
// it. Its error wraps [snapshot.ErrCorrupt].
func decodePartition(s snapshot.Stored, slab []byte) (*partition, snapshot.Tally, error) {
	raw, err := s.Decode(slab)
	if err != nil {
		return nil, snapshot.Tally{}, err
	}
	p := &partition{
		slab: slab[:len(raw)], // the same bytes, with all of the slab's capacity
		bits: s.Header.Bits,
	}
	x := newSweep(p, s.Entries)
	w := s.Walk(raw)
	for w.Next() {
		x.add(w.Hash(), uint32(w.Offset()))
	}
	if err := w.Err(); err != nil {
		return nil, snapshot.Tally{}, err
	}
	x.finish()
	return p, w.Tally(), nil
}

// pageSlots returns the number of slots of each page.
func (p *partition) pageSlots() int { return int(p.homes + p.spare) }

// page returns the slots of page i.
func (p *partition) page(i int) []uint32 { return unsafe.Slice(p.pages[i], p.pageSlots()) }

// used returns the bytes of all records, dead ones too.
func (p *partition) used() int { return len(p.slab) + int(p.patchLen) }

// live returns the bytes of the records.
func (p *partition) live() int {
	n := p.used() - int(p.dead)
	if p.patch != nil {
		n -= patchHeader
	}
	return n
}

// bytes returns the memory that p occupies. A partition without records is shared and counts nothing.
func (p *partition) bytes() int64 {
	if p.records == 0 {
		return 0
	}
	n := partitionBytes + int64(cap(p.slab)) + int64(p.patchCap)
	if p.backed != 0 {
		n += indexPages * 4 * int64(p.pageSlots())
	}
	return n + int64(indexPages-bits.OnesCount8(p.backed))*int64(p.pageBytes)
}
