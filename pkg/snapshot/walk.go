package snapshot

import (
	"bytes"

	"freshet.dev/pkg/dataset"
)

// Tally sums the entries of one or more blocks. [Reader.Check] compares it with the footer.
type Tally struct {
	Entries, Removals      uint64
	RawBytes, PayloadBytes uint64
	// State is the state checksum of the entries other than removals.
	State dataset.Checksum
}

// Merge adds o, the tally of other blocks of the same file.
func (t *Tally) Merge(o Tally) {
	t.Entries += o.Entries
	t.Removals += o.Removals
	t.RawBytes += o.RawBytes
	t.PayloadBytes += o.PayloadBytes
	t.State.Merge(o.State)
}

// Walker iterates over the entries of one decoded block, and checks that
//
//   - each entry is well-formed,
//   - entries are in strictly ascending order of (hash, key),
//   - each hash belongs to the block's partition,
//   - only a delta has removals.
//
// It does not allocate, and the slices that it returns alias the block:
//
//	w := stored.Walk(raw)
//	for w.Next() {
//		index(w.Hash(), w.Offset())
//	}
//	if err := w.Err(); err != nil { ... }
//
// Walker is a struct and not a function with a callback because every table load uses it, and this form took two thirds
// of the time. A Walker is for one goroutine.
type Walker struct {
	raw  []byte
	hash uint64 // of the current entry; before the first, the lowest of the partition
	seed uint64

	// The current entry is raw[off:next], its key raw[key:value], its value raw[value:next].
	off, key, value, next int

	last    uint64 // highest hash of the partition
	tally   Tally
	removed bool
	started bool
	block   Stored
	err     error
}

// Walk returns a Walker over raw, the result of s.Decode.
func (s Stored) Walk(raw []byte) Walker {
	shift := 64 - uint(s.Header.Bits) // a shift by 64 is 0 in Go: with no bits all hashes are partition 0
	low := uint64(s.Partition) << shift
	return Walker{raw: raw, hash: low, last: low | (1<<shift - 1), seed: s.Header.Seed, block: s}
}

// Next moves to the next entry. It returns false after the last one, and at the first invalid one: see Err.
func (w *Walker) Next() bool {
	off := w.next
	b := w.raw[off:]
	if len(b) == 0 || w.err != nil {
		w.finish()
		return false
	}
	// Fast path. Nearly all entries have a key of less than 64 bytes and a value of less than 128: two bytes precede the key.
	var head, klen, vlen int
	if len(b) >= 2 && b[0]|b[1] < 0x80 && b[0]&1 == 0 && b[0] != 0 {
		head, klen, vlen = 2, int(b[0]>>1), int(b[1])
		w.removed = false
		if head+klen+vlen > len(b) {
			return w.refuse(off, "it is not a record")
		}
	} else {
		var why string
		if head, klen, vlen, why = w.decode(b); why != "" {
			return w.refuse(off, why)
		}
	}
	end := head + klen + vlen
	key := b[head : head+klen]
	hash := dataset.Hash(w.seed, key)
	if hash <= w.hash && (hash < w.hash || w.started && bytes.Compare(key, w.raw[w.key:w.value]) <= 0) || hash > w.last {
		return w.refuseHash(off, hash)
	}
	w.hash, w.started = hash, true
	w.off, w.key, w.value, w.next = off, off+head, off+head+klen, off+end
	w.tally.Entries++
	w.tally.PayloadBytes += uint64(klen + vlen)
	if w.removed {
		w.tally.Removals++
	} else {
		w.tally.State.Add(w.seed, b[:end])
	}
	return true
}

// decode decodes the entry at the beginning of b. It returns the lengths of what precedes the key, of the key and of the value,
// or why the entry is invalid.
func (w *Walker) decode(b []byte) (head, klen, vlen int, why string) {
	r, n, err := dataset.DecodeRecord(b)
	switch {
	case err != nil:
		return 0, 0, 0, "it is not a record"
	case r.Removed && w.block.Header.Kind != Delta:
		return 0, 0, 0, "a snapshot has no removals"
	}
	w.removed = r.Removed
	klen, vlen = len(r.Key), len(r.Value)
	return n - klen - vlen, klen, vlen, ""
}

// Offset returns the offset of the entry in the block.
func (w *Walker) Offset() int { return w.off }

// Hash returns the hash of the entry's key.
func (w *Walker) Hash() uint64 { return w.hash }

// Key returns the entry's key.
func (w *Walker) Key() []byte { return w.raw[w.key:w.value:w.value] }

// Value returns the entry's value; it is empty for a removal.
func (w *Walker) Value() []byte { return w.raw[w.value:w.next:w.next] }

// Removed reports whether the entry is a removal.
func (w *Walker) Removed() bool { return w.removed }

// Record returns the entry as a record.
func (w *Walker) Record() dataset.Record {
	return dataset.Record{Key: w.Key(), Value: w.Value(), Removed: w.removed}
}

// Encoded returns the entry's encoding.
func (w *Walker) Encoded() []byte { return w.raw[w.off:w.next:w.next] }

// Tally returns the tally of the entries so far.
func (w *Walker) Tally() Tally {
	t := w.tally
	t.RawBytes = uint64(w.next)
	return t
}

// Err returns the error that ended the iteration; it wraps [ErrCorrupt]. It is nil during the iteration, and after a
// valid block. The entries before an error are well-formed, but no Writer wrote a file with that block.
func (w *Walker) Err() error { return w.err }

// finish compares the number of entries with the block's prefix.
func (w *Walker) finish() {
	if w.err == nil && w.tally.Entries != uint64(w.block.Entries) {
		w.err = w.block.corrupt("the prefix says %d entries, the block has %d", w.block.Entries, w.tally.Entries)
	}
}

func (w *Walker) refuse(off int, why string) bool {
	w.err = w.block.corrupt("the entry at byte %d of %d raw bytes: %s", off, len(w.raw), why)
	return false
}

func (w *Walker) refuseHash(off int, hash uint64) bool {
	switch {
	case hash > w.last || hash < w.hash && !w.started:
		return w.refuse(off, "its hash belongs to another partition")
	default:
		return w.refuse(off, "it is not in the order of (hash, key)")
	}
}
