package sorted

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Edits are entries to add to a set and to remove from it. If an entry is both, it is added.
type Edits struct {
	slab  []byte
	edits []edit
}

type edit struct {
	head uint64 // of the entry
	off  uint32
	len  uint16
	add  bool
}

// Add adds the entry that the parts make together, at most MaxEntryBytes.
func (e *Edits) Add(parts ...[]byte) { e.edit(true, parts) }

// Remove removes the entry that the parts make together.
func (e *Edits) Remove(parts ...[]byte) { e.edit(false, parts) }

func (e *Edits) edit(add bool, parts [][]byte) {
	off := len(e.slab)
	for _, p := range parts {
		e.slab = append(e.slab, p...)
	}
	entry := e.slab[off:]
	if len(entry) > MaxEntryBytes {
		panic("sorted: an entry is too long")
	}
	e.edits = append(e.edits, edit{head: head(entry), off: uint32(off), len: uint16(len(entry)), add: add})
}

// Len returns the number of edits, and Bytes the memory of their entries.
func (e *Edits) Len() int   { return len(e.edits) }
func (e *Edits) Bytes() int { return len(e.slab) }

// Reset removes all edits and keeps the memory.
func (e *Edits) Reset() { e.slab, e.edits = e.slab[:0], e.edits[:0] }

func (e *Edits) entry(d edit) []byte { return e.slab[d.off : d.off+uint32(d.len)] }

// below returns how many of the first edits are below the first entry of l.
func (e *Edits) below(edits []edit, l leaf) (n int) {
	for n < len(edits) {
		d := edits[n]
		if d.head > l.head || d.head == l.head && l.block.compare(0, e.entry(d)) <= 0 {
			break
		}
		n++
	}
	return n
}

// The sizes that Apply aims at. A block has between half of them and twice as much, and a chunk between a quarter and twice as much;
// the last of each may have less.
const (
	blockEntries = 32
	blockBytes   = 4 << 10
	chunkLeaves  = 128
)

// Apply returns s with the edits, and sorts the edits. It calls yield about every hundred microseconds.
func (s *Set) Apply(e *Edits, yield func()) *Set {
	e.sort(yield)
	w := writer{chunks: make([]chunk, 0, len(s.chunks)+1), ends: make([]int, 0, 2*blockEntries)}
	todo := e.edits
	for i, c := range s.chunks {
		n := len(todo)
		if i+1 < len(s.chunks) {
			n = e.below(todo, s.chunks[i+1].leaves[0])
		}
		if n == 0 {
			w.shareChunk(c)
			continue
		}
		w.mergeChunk(c, e, todo[:n], yield)
		todo = todo[n:]
	}
	if len(todo) > 0 { // s is empty
		w.merge(nil, e, todo, yield)
	}
	return w.finish()
}

// writer makes a set of entries and leaves that come in order.
type writer struct {
	chunks []chunk
	leaves []leaf // of the next chunk
	slab   []byte // the entries of the next block
	ends   []int  // of the entries in slab

	splices []splice // of one leaf
}

// spliceLeaf adds the leaf with the edits, if it needs neither a neighbour nor a split. It returns false if it added nothing.
func (w *writer) spliceLeaf(l leaf, e *Edits, edits []edit) bool {
	if len(edits) > blockEntries || w.small() {
		return false
	}
	w.flush()
	made, ok := w.spliced(l, e, edits)
	if ok {
		w.push(made)
	}
	return ok
}

func (w *writer) mergeChunk(c chunk, e *Edits, edits []edit, yield func()) {
	for i, l := range c.leaves {
		n := len(edits)
		if i+1 < len(c.leaves) {
			n = e.below(edits, c.leaves[i+1])
		}
		if n == 0 {
			w.shareLeaf(l)
			continue
		}
		if !w.spliceLeaf(l, e, edits[:n]) {
			w.merge(l.block, e, edits[:n], yield)
		}
		edits = edits[n:]
		if i%16 == 0 {
			yield()
		}
	}
}

// merge adds the entries of b with the edits.
func (w *writer) merge(b block, e *Edits, edits []edit, yield func()) {
	var prefix []byte
	i, n := 0, 0
	if b != nil {
		n, prefix = b.len(), b.prefix()
	}
	for k, d := range edits {
		if k%blockEntries == 0 {
			yield()
		}
		x := e.entry(d)
		if k+1 < len(edits) && edits[k+1].head == d.head && bytes.Equal(e.entry(edits[k+1]), x) {
			continue // the last edit of an entry counts
		}
		order := -1
		for ; i < n; i++ {
			if order = b.compare(i, x); order >= 0 {
				break
			}
			w.add(prefix, b.suffix(i))
		}
		if i < n && order == 0 {
			i++
		}
		if d.add {
			w.add(x, nil)
		}
	}
	for ; i < n; i++ {
		w.add(prefix, b.suffix(i))
	}
}

// add adds the entry that a and b make together.
func (w *writer) add(a, b []byte) {
	w.slab = append(append(w.slab, a...), b...)
	w.ends = append(w.ends, len(w.slab))
	if len(w.ends) < 2*blockEntries && len(w.slab) < 2*blockBytes {
		return
	}
	n := 1
	for n < blockEntries && w.ends[n-1] < blockBytes {
		n++
	}
	w.emit(n)
}

// emit makes a leaf of the first n entries.
func (w *writer) emit(n int) {
	size := w.ends[n-1]
	w.push(encode(w.slab[:size], w.ends[:n]))
	w.slab = w.slab[:copy(w.slab, w.slab[size:])]
	w.ends = w.ends[:copy(w.ends, w.ends[n:])]
	for i := range w.ends {
		w.ends[i] -= size
	}
}

// encode returns a leaf with the entries of slab, which end at ends.
func encode(slab []byte, ends []int) leaf {
	n := len(ends)
	first, start := slab[:ends[0]], 0
	if n > 1 {
		start = ends[n-2]
	}
	prefix := common(first, slab[start:])
	b := make(block, blockHead+2*n+prefix+len(slab)-n*prefix)
	binary.LittleEndian.PutUint16(b, uint16(n))
	binary.LittleEndian.PutUint16(b[2:], uint16(prefix))
	base := blockHead + 2*n + copy(b[blockHead+2*n:], first[:prefix])
	at, from := base, 0
	for i, end := range ends {
		at += copy(b[at:], slab[from+prefix:end])
		binary.LittleEndian.PutUint16(b[blockHead+2*i:], uint16(at-base))
		from = end
	}
	return leaf{head: head(first), block: b}
}

// common returns the length of the bytes that a and b begin with.
func common(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// flush makes a leaf of the entries that have none.
func (w *writer) flush() {
	if len(w.ends) > 0 {
		w.emit(len(w.ends))
	}
}

// small reports whether the entries that have no leaf are too few for one.
func (w *writer) small() bool {
	return len(w.ends) > 0 && len(w.ends) < blockEntries/2 && len(w.slab) < blockBytes/2
}

// shareLeaf adds a leaf as it is. If few entries precede it, it is merged with them.
func (w *writer) shareLeaf(l leaf) {
	if !w.small() {
		w.flush()
		w.push(l)
		return
	}
	prefix := l.block.prefix()
	for i := range l.block.len() {
		w.add(prefix, l.block.suffix(i))
	}
}

func (w *writer) push(l leaf) {
	w.leaves = append(w.leaves, l)
	if len(w.leaves) == 2*chunkLeaves {
		w.emitChunk(chunkLeaves)
	}
}

func (w *writer) emitChunk(n int) {
	c := chunk{head: w.leaves[0].head, leaves: slices.Clone(w.leaves[:n])}
	for _, l := range c.leaves {
		c.entries += l.block.len()
		c.bytes += int64(len(l.block)) + leafBytes
	}
	w.chunks = append(w.chunks, c)
	w.leaves = w.leaves[:copy(w.leaves, w.leaves[n:])]
}

// shareChunk adds a chunk as it is. If few leaves or entries precede it, its leaves are added to theirs.
func (w *writer) shareChunk(c chunk) {
	if !w.small() {
		w.flush()
	}
	if len(w.ends) > 0 || len(w.leaves) > 0 && len(w.leaves) < chunkLeaves/4 {
		for _, l := range c.leaves {
			w.shareLeaf(l)
		}
		return
	}
	if len(w.leaves) > 0 {
		w.emitChunk(len(w.leaves))
	}
	w.chunks = append(w.chunks, c)
}

func (w *writer) finish() *Set {
	w.flush()
	if len(w.leaves) > 0 {
		w.emitChunk(len(w.leaves))
	}
	s := &Set{chunks: slices.Clip(w.chunks)}
	for _, c := range s.chunks {
		s.entries += c.entries
		s.bytes += c.bytes
	}
	return s
}
