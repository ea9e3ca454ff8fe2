package table

import (
	"sync/atomic"
	"unsafe"
)

// This file implements the patch of a partition: the memory of the records that deltas have added. A patch is much
// smaller than the slab. It grows as a slice does under append: into its spare capacity, which successive versions of
// the partition share, or into a larger copy. Offsets into it remain valid in both cases.
//
//	patch  | tail 4 | 0 4 | record record ... | spare capacity       |
//	       0              8                   patchLen               patchCap
//
// tail is the length of the memory in use by any version, and the only part of a patch that ever changes. A version that
// moves tail forward from its own patchLen, by compare-and-swap, owns the bytes in between. So of two versions derived
// from one, the first appends and the other copies, and no byte that a reader can reach is ever written.

const (
	// patchHeader is the size of the header before the first record of a patch.
	patchHeader = 8
	// minPatch is the length that every patch may reach, also that of a small slab.
	minPatch = 4 << 10
)

// patchBytes returns the patch with its header.
func (p *partition) patchBytes() []byte { return unsafe.Slice(p.patch, p.patchCap)[:p.patchLen] }

// nextOffset returns the offset of the next appended record.
func (p *partition) nextOffset() int {
	if p.patch == nil {
		return len(p.slab) + patchHeader
	}
	return len(p.slab) + int(p.patchLen)
}

// appendPatch appends records to p's patch. Only the caller has a reference to p, but older versions may share the patch's
// memory. appendPatch requests huge pages from huge for new memory.
func (p *partition) appendPatch(records []byte, huge *hugePages) {
	if len(records) == 0 {
		return
	}
	if p.patch != nil {
		grown := p.patchLen + uint32(len(records))
		if grown+slabSpare <= p.patchCap && p.tail().CompareAndSwap(p.patchLen, grown) {
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
	// Little spare capacity: copying a patch is cheap compared with the rest of a delta, but the patches of all partitions
	// add up. It differs between partitions, so that those that got a patch from the same delta do not all fill up together.
	spare := n / 8 * (1 + int(p.records)%4)
	patch := newSlab(n + spare + slabSpare)
	huge.advise(unsafe.Pointer(unsafe.SliceData(patch)), cap(patch))
	patch = append(patch, old...)
	patch = append(patch, make([]byte, max(0, patchHeader-len(patch)))...)
	patch = append(patch, records...)
	p.patch, p.patchLen, p.patchCap = unsafe.SliceData(patch), uint32(n), uint32(cap(patch))
	p.tail().Store(uint32(n))
}

// tail returns the patch's tail. The Go allocator aligns memory of more than 16 bytes to 8.
func (p *partition) tail() *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(p.patch)) }
