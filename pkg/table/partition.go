package table

import (
	"context"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/snapshot"
)

// indexPages is the number of pages of a partition's index. A change copies one page, some 1.5 KiB, and not the whole
// index. With more pages a partition would exceed two cache lines, which every lookup reads.
const (
	pageBits   = 3
	indexPages = 1 << pageBits
)

// partition holds the records of one range of hashes. It is immutable once built. It has 128 bytes, two cache lines; a
// lookup reads the first and one word of the second.
type partition struct {
	// slab holds encoded records, patch the records that deltas have added; see patch.go. Records never move, so values may
	// alias them.
	slab               []byte
	patch              *byte
	patchLen, patchCap uint32

	// homes is the number of a page's slots that are homes. spare slots follow them, for records that the last homes cannot
	// hold.
	homes, spare uint32
	records      uint32
	dead         uint32 // bytes in slab and patch that no slot points to
	pageBytes    uint32 // memory of each page that was allocated alone; 0 if there is none
	shift        uint8
	// bits is the number of leading bits that all hashes of the partition have in common.
	bits uint8
	// backed has a bit for each page that is part of the single allocation for all pages.
	backed uint8

	// pages is the index, in the order of hashes. A slot that is not 0 is a record's offset plus 1 in the low shift bits
	// and a tag of its hash above them. Offsets from len(slab) on are those of patch. A record has the slot that is its
	// home, or a later one without a 0 between, and slots are in the order of (hash, key). So the hashes alone determine
	// the slots, regardless of the order of insertion. The last slot of a page is always 0, so that every search ends.
	pages [indexPages]*uint32
}

// partitionBytes is the size of the struct partition alone.
const partitionBytes = int64(unsafe.Sizeof(partition{}))

// spareSlots is the initial number of slots after the last home of a page. A partition that needs more gets more.
const spareSlots = 8

// homesFor returns the number of homes of a page, given the records of all pages, for a load factor of about 3/4. A lower
// load factor does not speed up lookups of existing records, which wait for memory: at 2/3, only misses took a tenth
// less, for 1 B a record. A higher one makes searches long, also because hashes fill some pages a tenth more than others.
func homesFor(records int) int { return (records+records/3)/indexPages + 4 }

// shiftFor returns the number of bits for offsets plus 1 in a slab of n bytes and the largest patch that it may get.
func shiftFor(n int) uint8 { return uint8(bits.Len(uint(n + n/2 + minPatch))) }

// emptyPartition returns a partition without records, for any range.
func emptyPartition() *partition {
	p := &partition{homes: 1, spare: 1}
	slots := make([]uint32, 2)
	for i := range p.pages {
		p.pages[i] = &slots[0]
	}
	return p
}

// yieldRecords is how many records are decoded or indexed between two calls of [lane.Yield].
const yieldRecords = 512

// decodePartition decodes the block s into slab, verifies every record and indexes it. slab must be empty and have
// sufficient capacity. It yields in the lane of ctx. The error wraps [snapshot.ErrCorrupt].
func decodePartition(ctx context.Context, s snapshot.Stored, slab []byte) (*partition, snapshot.Tally, error) {
	raw, err := s.Decode(slab)
	if err != nil {
		return nil, snapshot.Tally{}, err
	}
	p := &partition{
		slab: slab[:len(raw)], // raw, with the whole capacity of the slab
		bits: s.Header.Bits,
	}
	x := newIndexBuilder(p, s.Entries)
	w := s.Walk(raw)
	for n := 1; w.Next(); n++ {
		x.add(w.Hash(), uint32(w.Offset()))
		if n%yieldRecords == 0 {
			lane.Yield(ctx)
		}
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

// used returns the bytes of all records, including dead ones.
func (p *partition) used() int { return len(p.slab) + int(p.patchLen) }

// live returns the bytes of the records that are not dead.
func (p *partition) live() int {
	n := p.used() - int(p.dead)
	if p.patch != nil {
		n -= patchHeader
	}
	return n
}

// bytes returns the memory of p. An empty partition is shared and counts as 0.
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
