package sorted

import (
	"bytes"
	"encoding/binary"
)

// splice is an entry to remove from a block or to insert into it.
type splice struct {
	at     int    // the entry that is removed, or before which one is inserted
	insert []byte // without the prefix of the block; nil for a removal
}

// spliced returns the block with the edits, copied in long runs. ok is false if the result is too large or too small for a block, or
// if an edit does not begin with the prefix of the block.
func (w *writer) spliced(l leaf, e *Edits, edits []edit) (_ leaf, ok bool) {
	b := l.block
	prefix := b.prefix()
	w.splices = w.splices[:0]
	n, size := b.len(), len(b)
	for k, d := range edits {
		x := e.entry(d)
		if k+1 < len(edits) && edits[k+1].head == d.head && bytes.Equal(e.entry(edits[k+1]), x) {
			continue // the last edit of an entry counts
		}
		if !bytes.HasPrefix(x, prefix) {
			return l, false
		}
		x = x[len(prefix):]
		at := b.searchSuffix(x)
		has := at < b.len() && bytes.Equal(b.suffix(at), x)
		switch {
		case has && !d.add:
			w.splices = append(w.splices, splice{at: at})
			n, size = n-1, size-2-len(x)
		case !has && d.add:
			w.splices = append(w.splices, splice{at: at, insert: x})
			n, size = n+1, size+2+len(x)
		}
	}
	if len(w.splices) == 0 {
		return l, true
	}
	if n < blockEntries/2 || n >= 2*blockEntries || size >= 2*blockBytes {
		return l, false
	}
	made := b.splice(w.splices, n, size)
	return leaf{head: head(made.append(w.slab[:0], 0)), block: made}, true
}

// splice returns a block of n entries and so many bytes, made of b and the splices, which are in order.
func (b block) splice(splices []splice, n, size int) block {
	made := make(block, size)
	binary.LittleEndian.PutUint16(made, uint16(n))
	copy(made[2:4], b[2:4]) // the length of the prefix
	base := blockHead + 2*n + copy(made[blockHead+2*n:], b.prefix())
	old := b[len(b)-b.end(b.len()-1):] // the suffixes of b
	to, end, from, start := 0, 0, 0, 0 // the next entry and byte in made and in b
	keep := func(until int) {
		if until == from {
			return
		}
		stop := b.end(until - 1)
		shift := uint16(end - start)
		ends := b[blockHead+2*from : blockHead+2*until]
		into := made[blockHead+2*to:][:len(ends)]
		for i := 0; i+1 < len(ends); i += 2 {
			binary.LittleEndian.PutUint16(into[i:i+2], binary.LittleEndian.Uint16(ends[i:i+2])+shift)
		}
		to, from = to+until-from, until
		end += copy(made[base+end:], old[start:stop])
		start = stop
	}
	for _, s := range splices {
		keep(s.at)
		if s.insert == nil {
			from, start = s.at+1, b.end(s.at)
			continue
		}
		end += copy(made[base+end:], s.insert)
		binary.LittleEndian.PutUint16(made[blockHead+2*to:], uint16(end))
		to++
	}
	keep(b.len())
	return made
}
