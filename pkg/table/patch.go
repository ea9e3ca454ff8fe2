package table

import (
	"sync/atomic"
	"unsafe"
)

// This file is the patch of a partition: the memory of the records that deltas have added to it. It is much smaller
// than the slab, and grows as a slice does that is appended to: into the room at its end, which the partition's next
// version shares, or by being copied to a larger one. Offsets into it stay what they are in either case.
//
//	patch  | tail 4 | 0 4 | record record ... | room for more        |
//	       0              8                   patchLen               patchCap
//
// tail is how much of the memory has been given away, and is the only thing in it that ever changes: whoever moves it
// from its own patchLen on owns the room passed over. So of two versions that come from one, one appends and the other
// copies, and no byte that a reader can reach is written to.

const (
	// patchHeader is what comes before the first record of a patch.
	patchHeader = 8
	// minPatch is how long a patch may always become, however small the slab is.
	minPatch = 4 << 10
)

// patchBytes returns the patch, with its header and its room.
func (p *partition) patchBytes() []byte { return unsafe.Slice(p.patch, p.patchCap)[:p.patchLen] }

// nextOffset returns the offset of the record that is appended next.
func (p *partition) nextOffset() int {
	if p.patch == nil {
		return len(p.slab) + patchHeader
	}
	return len(p.slab) + int(p.patchLen)
}

// appendPatch appends records to p's patch. p is a version that no one else sees yet; the memory may be that of older
// ones. What is allocated is offered to huge.
func (p *partition) appendPatch(records []byte, huge *hugePages) {
	if len(records) == 0 {
		return
	}
	if p.patch != nil {
		grown := p.patchLen + uint32(len(records))
		if grown+slabRoom <= p.patchCap && p.tail().CompareAndSwap(p.patchLen, grown) {
			copy(unsafe.Slice(p.patch, p.patchCap)[p.patchLen:], records)
			p.patchLen = grown
			return
		}
	}
	var old []byte
	if p.patch != nil {
		old = p.patchBytes()
	}
	n := max(len(old), patchHeader) + len(records)
	// Little room: a patch is small beside what else a delta copies, and all patches together are not. It is not the same
	// for all partitions, or else they would all come to its end with the same delta, as they began with the same.
	room := n / 8 * (1 + int(p.records)%4)
	patch := newSlab(n + room + slabRoom)
	huge.advise(unsafe.Pointer(unsafe.SliceData(patch)), cap(patch))
	patch = append(patch, old...)
	patch = append(patch, make([]byte, max(0, patchHeader-len(patch)))...)
	patch = append(patch, records...)
	p.patch, p.patchLen, p.patchCap = unsafe.SliceData(patch), uint32(n), uint32(cap(patch))
	p.tail().Store(uint32(n))
}

// tail returns the patch's tail. Memory of more than 16 bytes is aligned to 8.
func (p *partition) tail() *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(p.patch)) }
