package table

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// This file is the inner loop of every lookup. It reads slots and records through unsafe pointers, because a lookup is
// bound by memory latency and the processor hides that by working on the next lookups meanwhile, as far as its reorder
// buffer reaches: with Go's checks in between, and with one more call that is not inlined, a hit took a third longer.
// The functions here are small enough to be inlined. They are safe because of what is proved of a partition before
// there is a table with it, and because a partition never changes after that:
//
//   - home is below the number of slots of a page, and the last of them is 0, so that a search ends within the page;
//   - a slot that is not 0 holds, in its low shift bits, 1 more than the offset of a whole record in slab and patch;
//   - both have at least slabRoom bytes after the last record, so that a header can be read before its length is known,
//     and the pointer of an empty value at the end still points into them.

// slabRoom is the least spare capacity of a slab and of a patch.
const slabRoom = 16

const _ = uint(snapshot.DecodeRoom - slabRoom) // what a slab is allocated with

// slot points to a slot.
type slot struct{ at unsafe.Pointer }

// load returns the slot; 0 ends a search.
func (s slot) load() uint32 { return *(*uint32)(s.at) }

// next returns the slot after s.
func (s slot) next() slot { return slot{unsafe.Add(s.at, 4)} }

// find returns the slot where a search for hash begins, the tag of hash in its place in a slot, and the limit that a
// slot of that tag is below without it. It is place, for the search.
func (p *partition) find(hash uint64) (s slot, tag, limit uint32) {
	x := hash << (p.bits & 63)
	home, fraction := bits.Mul64(x<<pageBits, uint64(p.homes))
	limit = 1 << (p.shift & 31)
	return slot{unsafe.Add(unsafe.Pointer(p.pages[x>>(64-pageBits)]), home*4)}, uint32(fraction>>32) & -limit, limit
}

// guess returns an address in the slab near that of the record of hash: records lie in hash order, so a hash at one
// third of the partition's range is about one third into the slab. That is off by some records, but mostly in the
// same page; asked for while the index is on its way, the page's address is resolved when the offset is known. At 10 M
// records it takes a fifth off a hit with 4 KiB pages, and some 7 % with huge ones.
func (p *partition) guess(hash uint64) unsafe.Pointer {
	off, _ := bits.Mul64(hash<<(p.bits&63), uint64(len(p.slab)))
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(p.slab)), off)
}

// record returns the record at off, a slot without its tag.
func (p *partition) record(off uint32) record {
	at, i := unsafe.Pointer(unsafe.SliceData(p.slab)), uintptr(off)-1
	if n := uintptr(len(p.slab)); i >= n {
		at, i = unsafe.Pointer(p.patch), i-n
	}
	return record{unsafe.Add(at, i)}
}

// record points to an encoded record; see package dataset. Its methods are for those with a key shorter than 64 bytes,
// whose key length takes one byte.
type record struct{ at unsafe.Pointer }

// maxShortKey is the length of the longest key that record's methods can be asked for.
const maxShortKey = 63

// header returns the lengths of header and value. They are right if the key is short, and rubbish if not.
func (r record) header() (head, value int) {
	b := (*[4]byte)(r.at)
	head, value = 2, int(b[1])
	if value >= 0x80 {
		head, value = 3, value&0x7f|int(b[2])<<7
		if value >= 0x80<<7 {
			head, value = 4, value&0x3fff|int(b[3])<<14
		}
	}
	return head, value
}

// keyLen returns the length of the key if that is short, and rubbish above maxShortKey if not.
func (r record) keyLen() int { return int(*(*byte)(r.at)) >> 1 }

// bytes returns the n bytes at off. Where a value begins follows from the slot and the key alone, for a header of the
// length that the processor predicts: it can fetch the value while it still waits for the key.
func (r record) bytes(off, n int) []byte { return unsafe.Slice((*byte)(unsafe.Add(r.at, off)), n) }

// equal reports whether a and b, of the same length, are equal. Keys of 8 to 16 bytes are worth a shortcut.
func equal(a, b []byte) bool {
	if len(a) >= 8 && len(a) <= 16 && len(b) == len(a) {
		le := binary.LittleEndian
		first := le.Uint64(a) ^ le.Uint64(b)
		last := le.Uint64(a[len(a)-8:]) ^ le.Uint64(b[len(b)-8:])
		return first|last == 0
	}
	return string(a) == string(b)
}

// matchLong returns the value of the record at off, a slot without its tag, if its key is key, of any length.
func (p *partition) matchLong(off uint32, key []byte) ([]byte, bool) {
	r, _, err := dataset.DecodeRecord(p.encoded(off))
	if err != nil || string(r.Key) != string(key) {
		return nil, false
	}
	return r.Value, true
}

// encoded returns the bytes from the record at off on, a slot without its tag.
func (p *partition) encoded(off uint32) []byte {
	if i := int(off) - 1; i < len(p.slab) {
		return p.slab[i:]
	} else {
		return p.patchBytes()[i-len(p.slab):]
	}
}
