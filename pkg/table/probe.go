package table

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// This file is the inner loop of every lookup. It reads slots and records through unsafe pointers. A lookup is bound by
// memory latency, which the processor hides by working on the next lookups, as far as its reorder buffer reaches. With
// Go's bounds checks and one more call that is not inlined, a hit took a third longer. The functions here are small
// enough to be inlined. They rely on invariants that are verified before a table has a partition, and a partition never
// changes after that:
//
//   - home is below the number of slots of a page, and the last slot of a page is 0, so that a search ends within the page;
//   - a slot that is not 0 holds, in its low shift bits, 1 more than the offset of a whole record in slab and patch;
//   - slab and patch have at least slabSpare bytes after the last record. So a header can be read before its length is
//     known, and the pointer of an empty value at the end still points into them.

// slabSpare is the least spare capacity of a slab and of a patch.
const slabSpare = 16

const _ = uint(snapshot.DecodeSlack - slabSpare) // a slab has DecodeSlack spare bytes

// slot points to a slot of an index.
type slot struct{ at unsafe.Pointer }

// load returns the value of the slot; 0 ends a search.
func (s slot) load() uint32 { return *(*uint32)(s.at) }

// next returns the slot after s.
func (s slot) next() slot { return slot{unsafe.Add(s.at, 4)} }

// find returns the first slot of a search for hash, the tag of hash at its position in a slot, and a limit: a slot has
// that tag if slot^tag is below limit. It computes the same as place, in the form for a search.
func (p *partition) find(hash uint64) (s slot, tag, limit uint32) {
	x := hash << (p.bits & 63)
	home, fraction := bits.Mul64(x<<pageBits, uint64(p.homes))
	limit = 1 << (p.shift & 31)
	return slot{unsafe.Add(unsafe.Pointer(p.pages[x>>(64-pageBits)]), home*4)}, uint32(fraction>>32) & -limit, limit
}

// guess returns an address in the slab near the record of hash. Records are in hash order, so a hash at one third of the
// partition's range is about one third into the slab. The guess is off by some records, but mostly in the same page. A
// prefetch while the index is in flight lets the processor translate that page's address before the offset is known.
// At 10 M records this takes a fifth off a hit with 4 KiB pages, and some 7 % with huge ones.
func (p *partition) guess(hash uint64) unsafe.Pointer {
	off, _ := bits.Mul64(hash<<(p.bits&63), uint64(len(p.slab)))
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(p.slab)), off)
}

// record returns the record at off, the value of a slot without its tag.
func (p *partition) record(off uint32) record {
	at, i := unsafe.Pointer(unsafe.SliceData(p.slab)), uintptr(off)-1
	if n := uintptr(len(p.slab)); i >= n {
		at, i = unsafe.Pointer(p.patch), i-n
	}
	return record{unsafe.Add(at, i)}
}

// record points to an encoded record; see package dataset. Its methods support keys of up to maxShortKey bytes, whose
// length is encoded in one byte.
type record struct{ at unsafe.Pointer }

// maxShortKey is the length of the longest key that the methods of record support.
const maxShortKey = 63

// header returns the lengths of header and value. They are meaningless if the key is longer than maxShortKey.
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

// keyLen returns the length of the key, or a meaningless number above maxShortKey for a longer key.
func (r record) keyLen() int { return int(*(*byte)(r.at)) >> 1 }

// bytes returns the n bytes at off. The slot and the looked-up key determine the address of a value, once the processor
// predicts the header's length. So it can fetch the value while it still waits for the record's key.
func (r record) bytes(off, n int) []byte { return unsafe.Slice((*byte)(unsafe.Add(r.at, off)), n) }

// equal reports whether a and b, which have the same length, are equal. It has a fast path for keys of 8 to 16 bytes.
func equal(a, b []byte) bool {
	if len(a) >= 8 && len(a) <= 16 && len(b) == len(a) {
		le := binary.LittleEndian
		first := le.Uint64(a) ^ le.Uint64(b)
		last := le.Uint64(a[len(a)-8:]) ^ le.Uint64(b[len(b)-8:])
		return first|last == 0
	}
	return string(a) == string(b)
}

// matchLong returns the value of the record at off, the value of a slot without its tag, if the record has the given key
// of any length.
func (p *partition) matchLong(off uint32, key []byte) ([]byte, bool) {
	r, _, err := dataset.DecodeRecord(p.encoded(off))
	if err != nil || string(r.Key) != string(key) {
		return nil, false
	}
	return r.Value, true
}

// encoded returns the bytes from the record at off on, where off is the value of a slot without its tag.
func (p *partition) encoded(off uint32) []byte {
	if i := int(off) - 1; i < len(p.slab) {
		return p.slab[i:]
	} else {
		return p.patchBytes()[i-len(p.slab):]
	}
}
