package table

import (
	"math/bits"
	"unsafe"
)

// guess returns an address in the slab near that of the record of hash: records lie in hash order, so a hash at one
// third of the partition's range is about one third into the slab. That is off by some records, but mostly in the
// same page; asked for while the index is on its way, the page's address is resolved when the offset is known. At 10 M
// records this takes a fifth off a lookup.
func (p *partition) guess(hash uint64) unsafe.Pointer {
	off, _ := bits.Mul64(hash<<(p.bits&63), uint64(len(p.slab)))
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(p.slab)), off)
}
