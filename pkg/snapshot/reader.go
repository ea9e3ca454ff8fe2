package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// firstAlloc bounds the allocation for a block's stored bytes before the first of them arrives. A block of the size that
// a Writer aims at fits; the buffer of a larger one grows as its bytes arrive.
const firstAlloc = 512 << 10

// Reader reads a snapshot or delta from its beginning to its end. A Reader is for one goroutine; others may decode the
// blocks that it returns.
type Reader struct {
	in     io.Reader
	rewind func(off int64, damage error) error // may be nil
	src    *bufio.Reader                       // over in
	digest hash.Hash                           // of the parts that have been verified
	off    int64                               // bytes read
	expect dataset.Object
	header Header
	totals Totals
	rows   []byte // the rows that the footer must have for the blocks read so far
	next   uint32 // the lowest partition that the next block may have
	seen   Tally  // Entries and RawBytes, summed over the prefixes of the blocks
	err    error  // the error that ended the file
	buf    [4096]byte
}

// Option is an option of a Reader.
type Option func(*Reader)

// Expect makes a Reader refuse a file whose digest or size is not that of the object o. A zero digest or a zero size
// matches every file.
func Expect(o dataset.Object) Option { return func(r *Reader) { r.expect = o } }

// Rewind makes a Reader read a damaged part (a block, the header or the footer) again. The Reader calls rewind with the
// offset of that part and with its damage. rewind returns nil once src continues at that offset, so that no byte before
// is read twice. If rewind fails, the Reader fails with both errors. A Reader does not call rewind if every part is
// valid but the digest of the file is wrong.
func Rewind(rewind func(off int64, damage error) error) Option {
	return func(r *Reader) { r.rewind = rewind }
}

// NewReader returns a Reader of the file in src. src must end with the file. NewReader reads and checks the header. Its
// errors wrap [ErrFormat], [ErrCorrupt] or src's error.
func NewReader(src io.Reader, opts ...Option) (*Reader, error) {
	r := &Reader{in: src, src: bufio.NewReaderSize(src, 4096), digest: sha256.New()}
	for _, o := range opts {
		o(r)
	}
	err := r.retry(func() error {
		b := r.buf[:headerBytes]
		if err := r.read(b); err != nil {
			return fmt.Errorf("read header: %w", err)
		}
		h, err := parseHeader(b)
		if err != nil {
			return err
		}
		r.header = h
		r.digest.Write(b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// retry calls read, which reads one part of the file. While the part is damaged, it rewinds and calls read again.
func (r *Reader) retry(read func() error) error {
	start := r.off
	for {
		err := read()
		if r.rewind == nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, errMagic) {
			return err
		}
		if failed := r.rewind(start, err); failed != nil {
			return fmt.Errorf("%w; %w", err, failed)
		}
		r.src.Reset(r.in)
		r.off = start
	}
}

// Header returns the file's header.
func (r *Reader) Header() Header { return r.header }

// Totals returns the footer's totals. It is valid after Next has returned io.EOF.
func (r *Reader) Totals() Totals { return r.totals }

// Check compares sum, the merged tallies of the Walkers of all blocks, with the footer. It returns an error that wraps
// [ErrCorrupt] if they differ. It is valid after Next has returned io.EOF. Check cannot verify the state that a delta
// leads to; applying the delta does.
func (r *Reader) Check(sum Tally) error { return r.totals.check(r.header.Kind, sum) }

// Next returns the next block, still compressed. It verifies the stored bytes, and reads them into buf if its capacity
// is sufficient. Next returns io.EOF after the last block, but only if all of these hold: footer, trailer, digest and
// size are right, the footer agrees with every block, and the input ends with the file. Other errors wrap [ErrCorrupt]
// or src's error. After an error Next returns the same error again.
func (r *Reader) Next(buf []byte) (Stored, error) {
	if r.err != nil {
		return Stored{}, r.err
	}
	var s Stored
	err := r.retry(func() (err error) {
		s, err = r.part(buf)
		return err
	})
	if err == io.EOF {
		if end := r.end(); end != nil {
			err = end
		}
	}
	r.err = err
	return s, err
}

// part reads the next part of the file: a block or the footer.
func (r *Reader) part(buf []byte) (Stored, error) {
	off := r.off
	b := r.buf[:prefixBytes]
	if err := r.read(b[:tagBytes]); err != nil {
		return Stored{}, fmt.Errorf("read block or footer: %w", err)
	}
	switch tag := le.Uint32(b); tag {
	case blockTag:
		return r.block(off, b, buf)
	case footerTag:
		if err := r.footer(off, uint64(le.Uint32(b[4:]))); err != nil {
			return Stored{}, err
		}
		return Stored{}, io.EOF
	default:
		return Stored{}, fmt.Errorf("%w: byte %d begins with %q, neither a block nor the footer", ErrCorrupt, off, b[:4])
	}
}

// block reads the rest of the block at off, after its tag in b.
func (r *Reader) block(off int64, b, buf []byte) (Stored, error) {
	if err := r.read(b[tagBytes:]); err != nil {
		return Stored{}, fmt.Errorf("read block prefix: %w", err)
	}
	p, problem := parsePrefix(b)
	switch {
	case problem != "":
	case p.partition>>r.header.Bits != 0:
		problem = fmt.Sprintf("the file has only %d partitions", 1<<r.header.Bits)
	case p.partition < r.next:
		problem = fmt.Sprintf("the block before has partition %d", r.next-1)
	case r.expect.Bytes > 0 && int64(p.stored) > r.expect.Bytes-r.off:
		problem = fmt.Sprintf("the prefix says %d stored bytes, but %d remain of the object", p.stored, r.expect.Bytes-r.off)
	}
	if problem != "" {
		return Stored{}, corruptBlock(off, p.partition, problem)
	}
	stored, err := r.stored(buf, int(p.stored))
	if err != nil {
		return Stored{}, fmt.Errorf("read block of partition %d: %w", p.partition, err)
	}
	if xxh3.Hash(stored) != p.storedSum {
		return Stored{}, corruptBlock(off, p.partition, "the stored bytes do not match their checksum")
	}
	r.digest.Write(b)
	r.digest.Write(stored)
	r.next = p.partition + 1
	r.rows = appendRow(r.rows, off, p)
	r.seen.Entries += uint64(p.entries)
	r.seen.RawBytes += uint64(p.raw)
	return Stored{
		Header: r.header, Offset: off, Partition: int(p.partition), RawBytes: int(p.raw), Entries: int(p.entries),
		Bytes: stored, rawSum: p.rawSum,
	}, nil
}

// stored reads n bytes into buf. If buf is too small, it reads into a new buffer that grows as bytes arrive.
func (r *Reader) stored(buf []byte, n int) ([]byte, error) {
	if cap(buf) < n {
		buf = make([]byte, 0, min(n+n/8, firstAlloc)) // blocks differ in size: do not grow for each
	}
	buf = buf[:0]
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, 2*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		part := buf[len(buf):min(n, cap(buf))]
		if err := r.read(part); err != nil {
			return nil, err
		}
		buf = buf[:len(buf)+len(part)]
	}
	return buf, nil
}

// footer reads the rest of the footer, after its tag with the number of blocks, and the trailer.
func (r *Reader) footer(off int64, count uint64) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: the footer at byte %d: %s", ErrCorrupt, off, fmt.Sprintf(format, args...))
	}
	if have := uint64(len(r.rows) / rowBytes); count != have {
		return bad("the table has %d blocks, the file has %d", count, have)
	}
	sum, tag := xxh3.New(), [tagBytes]byte(r.buf[:tagBytes])
	sum.Write(tag[:])
	for rows := r.rows; len(rows) > 0; {
		b := r.buf[:min(len(rows), len(r.buf))]
		if err := r.read(b); err != nil {
			return fmt.Errorf("read footer: %w", err)
		}
		if !bytes.Equal(b, rows[:len(b)]) {
			return bad("the table does not agree with the blocks of the file")
		}
		sum.Write(b)
		rows = rows[len(b):]
	}
	b := r.buf[:totalsBytes+trailerBytes]
	if err := r.read(b); err != nil {
		return fmt.Errorf("read footer: %w", err)
	}
	sum.Write(b[:totalsBytes])
	length := uint64(tagBytes + len(r.rows) + totalsBytes)
	if !bytes.Equal(b[totalsBytes:], appendTrailer(nil, length, sum.Sum64())) {
		return bad("the trailer's length, checksum or end mark is wrong")
	}
	t := parseTotals(b)
	if t.Entries != r.seen.Entries || t.RawBytes != r.seen.RawBytes {
		return bad("the totals say %d entries and %d raw bytes, the blocks have %d and %d",
			t.Entries, t.RawBytes, r.seen.Entries, r.seen.RawBytes)
	}
	if err := t.plausible(r.header.Kind); err != nil {
		return bad("the totals say %v", err)
	}
	// Only verified parts enter the digest, so that a retry does not count a damaged one.
	r.digest.Write(tag[:])
	r.digest.Write(r.rows)
	r.digest.Write(b)
	r.totals = t
	return nil
}

// end checks that the input ends here, and that size and digest are the expected ones.
func (r *Reader) end() error {
	t := r.totals
	r.totals = Totals{}
	switch _, err := r.src.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: the file ends at byte %d, but more bytes follow", ErrCorrupt, r.off)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read past the end: %w", err)
	}
	t.FileBytes = r.off
	r.digest.Sum(t.Digest[:0])
	if want := r.expect.Bytes; want > 0 && want != t.FileBytes {
		return fmt.Errorf("%w: the file has %d bytes, the object has %d", ErrCorrupt, t.FileBytes, want)
	}
	if want := r.expect.Digest; !want.IsZero() && want != t.Digest {
		return fmt.Errorf("%w: the file's digest is %v, the object's is %v", ErrCorrupt, t.Digest, want)
	}
	r.totals = t
	return nil
}

// read fills b. It returns [ErrTruncated] if the input ends first.
func (r *Reader) read(b []byte) error {
	n, err := io.ReadFull(r.src, b)
	r.off += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: at byte %d", ErrTruncated, r.off)
	}
	return err
}
