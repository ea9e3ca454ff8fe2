package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// The first read at the end of a file. Its size grows with that of the file, up to maxTail, so that an index of a small file
// costs little more than the footer. A footer has 32 bytes for each block, and nearly all blocks have more than 4 KiB. maxTail
// covers trailer and footer of a file of up to 2,000 blocks (some 700 MB raw).
const (
	minTail = 2 << 10
	maxTail = 64 << 10
)

// tailRead returns the size of the first read at the end of a file of the given size.
func tailRead(size int64) int64 { return min(minTail+size/128, maxTail) }

// Index is the footer's table of a file's blocks, for random access to single blocks. It is immutable. ReadIndex does not
// read the blocks: Read verifies each one, and only a Reader verifies the digest of the file.
type Index struct {
	Header Header
	Totals Totals // without Digest
	rows   []byte
}

// ReadIndex reads header and footer of a file of the given size, with two or three reads. Its errors wrap [ErrFormat],
// [ErrCorrupt] or src's error.
func ReadIndex(src io.ReaderAt, size int64) (*Index, error) {
	const least = headerBytes + tagBytes + totalsBytes + trailerBytes
	if size < least {
		return nil, fmt.Errorf("%w: the input has %d bytes, the shortest file has %d", ErrTruncated, size, least)
	}
	var head [headerBytes]byte
	if err := readAt(src, head[:], 0); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	h, err := parseHeader(head[:])
	if err != nil {
		return nil, err
	}
	end := make([]byte, min(size-headerBytes, tailRead(size)))
	if err := readAt(src, end, size-int64(len(end))); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	trailer := end[len(end)-trailerBytes:]
	length := le.Uint64(trailer)
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: the footer: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
	switch {
	case !bytes.HasSuffix(trailer, []byte(endMagic)):
		return nil, bad("the file ends with %q, not with the end mark", trailer[16:])
	case length > uint64(size-headerBytes-trailerBytes) || length < tagBytes+totalsBytes:
		return nil, bad("the trailer says a length of %d, in a file of %d bytes", length, size)
	}
	footer := end[:len(end)-trailerBytes]
	if uint64(len(footer)) >= length {
		footer = footer[uint64(len(footer))-length:]
	} else {
		footer = make([]byte, length) // no longer than the file
		if err := readAt(src, footer, size-trailerBytes-int64(length)); err != nil {
			return nil, fmt.Errorf("read footer: %w", err)
		}
	}
	if le.Uint64(trailer[8:]) != xxh3.Hash(footer) {
		return nil, bad("its bytes do not match the trailer's checksum")
	}
	x := &Index{Header: h, rows: footer[tagBytes : len(footer)-totalsBytes]}
	x.Totals = parseTotals(footer[len(footer)-totalsBytes:])
	x.Totals.FileBytes = size
	if le.Uint32(footer) != footerTag || uint64(le.Uint32(footer[4:]))*rowBytes != uint64(len(x.rows)) {
		return nil, bad("the table has %d blocks in %d bytes", le.Uint32(footer[4:]), len(x.rows))
	}
	if err := x.Totals.plausible(h.Kind); err != nil {
		return nil, bad("the totals say %v", err)
	}
	if problem := x.check(size - trailerBytes - int64(length)); problem != "" {
		return nil, bad("%s", problem)
	}
	x.rows = bytes.Clone(x.rows) // frees the rest of the read buffer
	return x, nil
}

// check describes the first fault of the table. The table's blocks must fill the file from the header to the footer at end.
func (x *Index) check(end int64) string {
	off, next := int64(headerBytes), uint32(0)
	var entries, raw uint64
	for i := range x.Blocks() {
		at, p := x.row(i)
		switch {
		case at != off:
			return fmt.Sprintf("the table has block %d at byte %d, the one before ends at %d", i, at, off)
		case p.partition < next || p.partition>>x.Header.Bits != 0:
			return fmt.Sprintf("the table has block %d in partition %d", i, p.partition)
		case p.raw == 0 || p.raw > MaxBlockRaw || int(p.stored) < minStored(int(p.raw)) || int(p.stored) > maxStored(int(p.raw)):
			return fmt.Sprintf("the table has block %d with %d stored bytes for %d raw bytes", i, p.stored, p.raw)
		}
		off += prefixBytes + int64(p.stored)
		next = p.partition + 1
		entries += uint64(p.entries)
		raw += uint64(p.raw)
	}
	switch {
	case off != end:
		return fmt.Sprintf("the table's blocks end at byte %d, the footer begins at %d", off, end)
	case entries != x.Totals.Entries || raw != x.Totals.RawBytes:
		return fmt.Sprintf("the totals say %d entries and %d raw bytes, the table's blocks have %d and %d",
			x.Totals.Entries, x.Totals.RawBytes, entries, raw)
	}
	return ""
}

// Blocks returns the number of blocks.
func (x *Index) Blocks() int { return len(x.rows) / rowBytes }

// Block returns the number of the block that holds every entry with the given hash. ok is false if the file has no such
// block, and so no such entry.
func (x *Index) Block(hash uint64) (block int, ok bool) {
	partition := x.partition(hash)
	block = x.search(partition)
	if block == x.Blocks() {
		return 0, false
	}
	_, p := x.row(block)
	return block, p.partition == partition
}

// partition returns the partition of a hash.
func (x *Index) partition(hash uint64) uint32 {
	return uint32(hash >> (64 - uint(x.Header.Bits))) // a shift by 64 is 0 in Go
}

// search returns the number of the first block of the given partition or a later one, or the number of blocks if there is
// none.
func (x *Index) search(partition uint32) int {
	lo, hi := 0, x.Blocks()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if _, p := x.row(mid); p.partition < partition {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// From returns the number of the first block that may hold an entry with the given hash or a higher one. It is Blocks() if there is
// none.
func (x *Index) From(hash uint64) int { return x.search(x.partition(hash)) }

// Group returns the range [first, end) of the blocks that hold the entries of a group (see the function [Group]), and the
// raw bytes of these blocks. The blocks may also hold entries of other groups.
func (x *Index) Group(group uint32) (first, end int, rawBytes int64) {
	low := uint64(group) << (64 - dataset.GroupBits)
	last := x.partition(low | (1<<(64-dataset.GroupBits) - 1))
	first = x.search(x.partition(low))
	for end = first; end < x.Blocks(); end++ {
		_, p := x.row(end)
		if p.partition > last {
			break
		}
		rawBytes += int64(p.raw)
	}
	return first, end, rawBytes
}

// Read reads a block of the file that x indexes, and verifies its stored bytes as [Reader.Next] does. block is a number
// from 0 to Blocks()-1. Read is safe for concurrent use if src's ReadAt is.
func (x *Index) Read(src io.ReaderAt, block int) (Stored, error) {
	off, want := x.row(block)
	b := make([]byte, prefixBytes+int(want.stored)) // no longer than the file: see check
	if err := readAt(src, b, off); err != nil {
		return Stored{}, fmt.Errorf("read block of partition %d: %w", want.partition, err)
	}
	p, problem := parsePrefix(b)
	stored := b[prefixBytes:]
	switch {
	case problem != "":
	case le.Uint32(b) != blockTag || !bytes.Equal(appendRow(nil, off, p), x.rows[block*rowBytes:(block+1)*rowBytes]):
		problem = "the prefix does not agree with the footer's table"
	case xxh3.Hash(stored) != p.storedSum:
		problem = "the stored bytes do not match their checksum"
	}
	if problem != "" {
		return Stored{}, corruptBlock(off, want.partition, problem)
	}
	return Stored{
		Header: x.Header, Offset: off, Partition: int(p.partition), RawBytes: int(p.raw), Entries: int(p.entries),
		Bytes: stored, rawSum: p.rawSum,
	}, nil
}

// row returns row i of the table. It lacks the prefix's storedSum.
func (x *Index) row(i int) (offset int64, p prefix) {
	b := x.rows[i*rowBytes:]
	return int64(le.Uint64(b)), prefix{
		partition: le.Uint32(b[8:]), stored: le.Uint32(b[12:]), raw: le.Uint32(b[16:]), entries: le.Uint32(b[20:]),
		rawSum: le.Uint64(b[24:]),
	}
}

// readAt fills b from offset off. It returns [ErrTruncated] if the input ends first.
func readAt(src io.ReaderAt, b []byte, off int64) error {
	n, err := src.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: at byte %d", ErrTruncated, off+int64(n))
	}
	return err
}
