// Package sorted keeps sets of byte strings in order, densely, and changes them by copying.
//
// A set is a list of chunks, a chunk is a list of blocks, and a block is one allocation with some hundred entries, without pointers. The
// entries of a block share the bytes that all of them begin with. A change of a set copies the blocks with changed entries, the lists of
// their chunks and the list of chunks, and shares everything else with the set before. So a change costs as much as its entries, and
// readers of either set never wait.
//
//	block:  n uint16 | p uint16 | n ends of suffixes, uint16 each | prefix, p bytes | suffixes
//
// The numbers are little-endian; the ends count from the first suffix.
package sorted

import (
	"bytes"
	"encoding/binary"
	"iter"
	"sort"
)

// MaxEntryBytes is the length of the longest entry.
const MaxEntryBytes = 4 << 10

// Set is an immutable set of byte strings. The zero Set is empty. It is safe for concurrent use.
type Set struct {
	chunks []chunk
	// entries and bytes are sums over chunks.
	entries int
	bytes   int64
}

// chunk is a list of leaves, at least one. It is immutable.
type chunk struct {
	head    uint64 // of the first leaf
	leaves  []leaf
	entries int
	bytes   int64
}

// leaf is a block with the head of its first entry, so that most comparisons in a search need no access to the block.
type leaf struct {
	head  uint64
	block block
}

const (
	leafBytes  = 32 // the size of a leaf
	chunkBytes = 48 // the size of a chunk
)

// Len returns the number of entries.
func (s *Set) Len() int { return s.entries }

// Bytes returns the memory of the set, without what the allocator adds. It includes memory that the set shares with other versions.
func (s *Set) Bytes() int64 { return s.bytes + int64(len(s.chunks))*chunkBytes }

// after reports whether the leaf's first entry is above x, whose head is h.
func (l leaf) after(x []byte, h uint64) bool {
	if l.head != h {
		return l.head > h
	}
	return l.block.compare(0, x) > 0
}

// position is the place of an entry, or the end.
type position struct{ chunk, leaf, entry int }

// seek returns the position of the first entry that is not below x.
func (s *Set) seek(x []byte) position {
	if len(s.chunks) == 0 {
		return position{}
	}
	h := head(x)
	var p position
	p.chunk = max(sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].leaves[0].after(x, h) })-1, 0)
	leaves := s.chunks[p.chunk].leaves
	p.leaf = max(sort.Search(len(leaves), func(i int) bool { return leaves[i].after(x, h) })-1, 0)
	p.entry = leaves[p.leaf].block.search(x)
	return s.valid(p)
}

// valid returns p, or the position of the next leaf if p is at the end of its leaf.
func (s *Set) valid(p position) position {
	if p.entry < s.chunks[p.chunk].leaves[p.leaf].block.len() {
		return p
	}
	p.leaf, p.entry = p.leaf+1, 0
	if p.leaf == len(s.chunks[p.chunk].leaves) {
		p.chunk, p.leaf = p.chunk+1, 0
	}
	return p
}

// First appends the first entry that is not below x to dst. ok is false if there is none.
func (s *Set) First(x, dst []byte) (entry []byte, ok bool) {
	p := s.seek(x)
	if p.chunk == len(s.chunks) {
		return dst, false
	}
	return s.chunks[p.chunk].leaves[p.leaf].block.append(dst, p.entry), true
}

// Before appends the last entry that is below x to dst. ok is false if there is none.
func (s *Set) Before(x, dst []byte) (entry []byte, ok bool) {
	p := s.seek(x)
	if p.entry == 0 {
		if p.leaf == 0 {
			if p.chunk == 0 {
				return dst, false
			}
			p.chunk--
			p.leaf = len(s.chunks[p.chunk].leaves)
		}
		p.leaf--
		p.entry = s.chunks[p.chunk].leaves[p.leaf].block.len()
	}
	return s.chunks[p.chunk].leaves[p.leaf].block.append(dst, p.entry-1), true
}

// From returns an iterator over the entries that are not below x, in order. The next step overwrites the entry.
func (s *Set) From(x []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var entry []byte
		p := s.seek(x)
		for ; p.chunk < len(s.chunks); p.chunk, p.leaf = p.chunk+1, 0 {
			leaves := s.chunks[p.chunk].leaves
			for ; p.leaf < len(leaves); p.leaf, p.entry = p.leaf+1, 0 {
				b := leaves[p.leaf].block
				for n := b.len(); p.entry < n; p.entry++ {
					entry = b.append(entry[:0], p.entry)
					if !yield(entry) {
						return
					}
				}
			}
		}
	}
}

// About returns about how many entries are in [from, until), at the cost of two searches. An empty until has no end.
func (s *Set) About(from, until []byte) int {
	end := s.entries
	if len(until) > 0 {
		end = s.rank(s.seek(until))
	}
	return max(end-s.rank(s.seek(from)), 0)
}

// rank returns about how many entries are before p.
func (s *Set) rank(p position) (n int) {
	for _, c := range s.chunks[:p.chunk] {
		n += c.entries
	}
	if p.chunk < len(s.chunks) {
		c := s.chunks[p.chunk]
		n += p.leaf*c.entries/len(c.leaves) + p.entry
	}
	return n
}

// block is a list of entries; see the package comment.
type block []byte

const blockHead = 4

func (b block) len() int { return int(binary.LittleEndian.Uint16(b)) }

func (b block) prefix() []byte {
	at := blockHead + 2*b.len()
	return b[at : at+int(binary.LittleEndian.Uint16(b[2:]))]
}

func (b block) end(i int) int { return int(binary.LittleEndian.Uint16(b[blockHead+2*i:])) }

// suffix returns the entry i without the prefix.
func (b block) suffix(i int) []byte {
	at := blockHead + 2*b.len() + int(binary.LittleEndian.Uint16(b[2:]))
	from := 0
	if i > 0 {
		from = b.end(i - 1)
	}
	return b[at+from : at+b.end(i)]
}

// append appends the entry i to dst.
func (b block) append(dst []byte, i int) []byte {
	return append(append(dst, b.prefix()...), b.suffix(i)...)
}

// compare compares the entry i with x.
func (b block) compare(i int, x []byte) int {
	c, rest := b.comparePrefix(x)
	if c != 0 {
		return c
	}
	return bytes.Compare(b.suffix(i), rest)
}

// comparePrefix returns 1 or -1 if all entries are above or below x because of the prefix. Otherwise rest is x without the prefix.
func (b block) comparePrefix(x []byte) (order int, rest []byte) {
	p := b.prefix()
	if len(x) >= len(p) {
		return bytes.Compare(p, x[:len(p)]), x[len(p):]
	}
	if bytes.Compare(p, x) < 0 {
		return -1, nil
	}
	return 1, nil
}

// search returns the index of the first entry that is not below x.
func (b block) search(x []byte) int {
	c, rest := b.comparePrefix(x)
	switch {
	case c > 0:
		return 0
	case c < 0:
		return b.len()
	}
	return b.searchSuffix(rest)
}

// searchSuffix returns the index of the first entry whose suffix is not below x.
func (b block) searchSuffix(x []byte) int {
	low, high := 0, b.len()
	base := b[blockHead+2*high+int(binary.LittleEndian.Uint16(b[2:])):]
	for low < high {
		i := int(uint(low+high) >> 1)
		from := 0
		if i > 0 {
			from = b.end(i - 1)
		}
		if bytes.Compare(base[from:b.end(i)], x) < 0 {
			low = i + 1
		} else {
			high = i
		}
	}
	return low
}
