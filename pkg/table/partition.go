package table

import (
	"math/bits"
	"slices"
	"unsafe"

	"freshet.dev/pkg/snapshot"
)

// partition holds the records of one range of hashes. It is immutable once built, and no longer than a
// cache line.
type partition struct {
	// slab holds encoded records. A record never moves, so values may alias it.
	slab []byte
	// slots is the index. A slot that is not 0 is a record's offset in slab plus 1 in the low shift bits, and the low
	// bits of its hash above them. A record lies in the slot that is its home or in the first free one after it; the
	// last slot is always 0, so that every search ends.
	slots []uint32
	// homes is how many of the slots are a home. The rest takes what the last homes have no room for.
	homes uint32
	shift uint8
	// bits is the number of leading bits that all hashes of the partition have in common.
	bits uint8
}

// partitionBytes is the size of a partition without what it points to.
const partitionBytes = int64(unsafe.Sizeof(partition{}))

// spareSlots is how many slots follow the last home at first. Displacement at this load is under 16 nearly always.
const spareSlots = 16

// homesFor returns the number of homes for records: a load of 3/4. More room makes no lookup faster that waits for
// memory, less makes searches long.
func homesFor(records int) int { return records + records/3 + 1 }

// decodePartition decodes the block s into slab, which is empty and has room for it, verifies every record and indexes
// it. Its error wraps [snapshot.ErrCorrupt].
func decodePartition(s snapshot.Stored, slab []byte) (*partition, snapshot.Tally, error) {
	raw, err := s.Decode(slab)
	if err != nil {
		return nil, snapshot.Tally{}, err
	}
	slots := slices.Grow([]uint32(nil), homesFor(s.Entries)+spareSlots)
	slots = slots[:cap(slots)] // the allocator rounds up: use what it gives
	p := &partition{
		slab:  slab[:len(raw)], // the same bytes, with all of the slab's capacity
		homes: uint32(len(slots) - spareSlots),
		shift: uint8(bits.Len(uint(len(raw)))), // an offset plus 1 is at most len(raw)
		bits:  s.Header.Bits,
	}
	// Records come in hash order, and so do their homes: the slot after the one filled last is always free.
	next := uint64(0)
	w := s.Walk(raw)
	for w.Next() {
		hash := w.Hash()
		at, _ := bits.Mul64(hash<<p.bits, uint64(p.homes))
		at = max(at, next)
		if next = at + 1; next == uint64(len(slots)) {
			slots = append(slots, make([]uint32, spareSlots)...)
		}
		slots[at] = uint32(hash)<<p.shift | uint32(w.Offset()+1)
	}
	if err := w.Err(); err != nil {
		return nil, snapshot.Tally{}, err
	}
	p.slots = slots
	return p, w.Tally(), nil
}

// bytes returns the memory that p occupies.
func (p *partition) bytes() int64 {
	return partitionBytes + int64(cap(p.slab)) + 4*int64(cap(p.slots))
}
