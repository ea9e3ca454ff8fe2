package table

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// partition holds the records of one range of hashes. It is immutable once built, and has 64 bytes: one cache line.
type partition struct {
	// slab holds encoded records. A record never moves, so values may alias it.
	slab []byte
	// slots is the index. A slot that is not 0 is a record's offset in slab plus 1 in the low shift bits, and the low
	// bits of its hash above them. A record lies in the slot that is its home or in the first free one after it; the
	// last slot is always 0, so that every search ends.
	slots []uint32
	// homes is how many of the slots are a home. The rest takes what the last homes have no room for.
	homes   uint32
	records uint32
	shift   uint8
	// bits is the number of leading bits that all hashes of the partition have in common.
	bits uint8
}

// partitionBytes is the size of a partition without what it points to.
const partitionBytes = 64

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
		slab:    slab[:len(raw)], // the same bytes, with all of the slab's capacity
		homes:   uint32(len(slots) - spareSlots),
		records: uint32(s.Entries),
		shift:   uint8(bits.Len(uint(len(raw)))), // an offset plus 1 is at most len(raw)
		bits:    s.Header.Bits,
	}
	// Records come in hash order, and so do their homes: the slot after the one filled last is always free.
	next := 0
	w := s.Walk(raw)
	for w.Next() {
		hash := w.Hash()
		at := max(p.home(hash), next)
		if next = at + 1; next == len(slots) {
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

// home returns the slot where the search for hash begins.
func (p *partition) home(hash uint64) int {
	hi, _ := bits.Mul64(hash<<(p.bits&63), uint64(p.homes))
	return int(hi)
}

// bytes returns the memory that p occupies.
func (p *partition) bytes() int64 {
	return partitionBytes + int64(cap(p.slab)) + 4*int64(cap(p.slots))
}

// find searches the slots from at on for the record of key, whose hash is hash, and returns its value.
//
// The address of a value follows from the slot and len(key) alone, not from what is read of the record, so that the
// processor can fetch the value while it compares the key.
func (p *partition) find(key []byte, hash uint64, at int) ([]byte, bool) {
	tag, limit := uint32(hash)<<(p.shift&31), uint32(1)<<(p.shift&31)
	for {
		slot := p.slots[at]
		if slot == 0 {
			return nil, false
		}
		if off := slot ^ tag; off < limit {
			if value, ok := match(p.slab[off-1:], key); ok {
				return value, true
			}
		}
		at++
	}
}

// match returns the value of the record that b begins with if its key is key.
func match(b, key []byte) ([]byte, bool) {
	if len(key) >= 64 || len(b) < 4 {
		return matchAny(b, key)
	}
	head, n := 2, int(b[1])
	if n >= 0x80 {
		head, n = 3, n&0x7f|int(b[2])<<7
		if n >= 0x80<<7 {
			head, n = 4, n&0x3fff|int(b[3])<<14
		}
	}
	if int(b[0]) != len(key)<<1 || !equal(b[head:head+len(key)], key) {
		return nil, false
	}
	mid := head + len(key)
	return b[mid : mid+n : mid+n], true
}

// matchAny is match for records of every shape.
func matchAny(b, key []byte) ([]byte, bool) {
	r, _, err := dataset.DecodeRecord(b)
	if err != nil || string(r.Key) != string(key) {
		return nil, false
	}
	return r.Value, true
}

// equal reports whether a and b, of the same length, are equal. Keys of 8 to 16 bytes are worth a shortcut: the
// runtime's comparison costs a fifth of a lookup.
func equal(a, b []byte) bool {
	if len(a) >= 8 && len(a) <= 16 && len(b) == len(a) {
		le := binary.LittleEndian
		return le.Uint64(a)^le.Uint64(b)|le.Uint64(a[len(a)-8:])^le.Uint64(b[len(b)-8:]) == 0
	}
	return string(a) == string(b)
}
