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

// firstRead is how much is allocated for a block's stored bytes before any of them has come. It holds every block
// of the size that a Writer aims at; a larger one is grown into as its bytes come.
const firstRead = 512 << 10

// Reader reads a snapshot or delta from its beginning to its end. It is used by one goroutine; the blocks that it
// returns may be decoded by others.
type Reader struct {
	in     io.Reader
	rewind func(off int64, damage error) error // nil for never
	src    *bufio.Reader                       // over in
	digest hash.Hash                           // of the parts that were proven right
	off    int64                               // bytes read
	expect dataset.Object
	header Header
	totals Totals
	rows   []byte // the footer's table, as it must be after the blocks read so far
	next   uint32 // the lowest partition that the next block may have
	seen   Tally  // what the prefixes of the blocks say: Entries and RawBytes
	err    error  // what ended the reading
	buf    [4096]byte
}

// Option is an option of a Reader.
type Option func(*Reader)

// Expect makes a Reader refuse a file whose digest or size is not that of the object o. A zero digest or size
// expects nothing.
func Expect(o dataset.Object) Option { return func(r *Reader) { r.expect = o } }

// Rewind makes a Reader that finds a block, the header or the footer damaged read it anew. rewind is told at which byte
// that part begins and what is wrong with it, and returns nil if src's next byte is that one, so that nothing before
// it is read twice. Its error ends the reading, together with damage. A digest that is wrong although every part
// is right does not lead to a Rewind.
func Rewind(rewind func(off int64, damage error) error) Option {
	return func(r *Reader) { r.rewind = rewind }
}

// NewReader returns a Reader of the file that src holds, and nothing after it. It reads and checks the header: its
// errors wrap [ErrFormat], [ErrCorrupt] or src's error.
func NewReader(src io.Reader, opts ...Option) (*Reader, error) {
	r := &Reader{in: src, src: bufio.NewReaderSize(src, 4096), digest: sha256.New()}
	for _, o := range opts {
		o(r)
	}
	err := r.proven(func() error {
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

// proven has part read one part of the file, anew as long as it is damaged and can be had anew.
func (r *Reader) proven(part func() error) error {
	start := r.off
	for {
		err := part()
		if r.rewind == nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, errMagic) {
			return err
		}
		if again := r.rewind(start, err); again != nil {
			return fmt.Errorf("%w; %w", err, again)
		}
		r.src.Reset(r.in)
		r.off = start
	}
}

// Header returns the file's header.
func (r *Reader) Header() Header { return r.header }

// Totals returns what the footer says. It is valid after Next has returned io.EOF.
func (r *Reader) Totals() Totals { return r.totals }

// Check compares what all blocks added up to, by their Walkers' tallies, with the footer, and returns an error that
// wraps [ErrCorrupt] if they differ. It is valid after Next has returned io.EOF. The state that a delta leads to
// cannot be checked here; it is by applying the delta.
func (r *Reader) Check(sum Tally) error { return r.totals.check(r.header.Kind, sum) }

// Next returns the next block, still compressed, its stored bytes verified and in buf if that has room. It returns
// io.EOF after the last block, and then only if footer, trailer, digest and size are right, the footer agrees with
// every block read, and the input ends where the file does. Other errors wrap [ErrCorrupt] or are those of the
// input. After an error it returns the same error.
func (r *Reader) Next(buf []byte) (Stored, error) {
	if r.err != nil {
		return Stored{}, r.err
	}
	var s Stored
	err := r.proven(func() (err error) {
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
		return Stored{}, fmt.Errorf("%w: at byte %d stands %q, neither a block nor the footer", ErrCorrupt, off, b[:4])
	}
}

// block reads what comes after the tag of the block at off.
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
		problem = fmt.Sprintf("it comes after that of partition %d", r.next-1)
	case r.expect.Bytes > 0 && int64(p.stored) > r.expect.Bytes-r.off:
		problem = fmt.Sprintf("it says %d stored bytes, but %d remain of the object", p.stored, r.expect.Bytes-r.off)
	}
	if problem != "" {
		return Stored{}, corruptBlock(off, p.partition, problem)
	}
	stored, err := r.stored(buf, int(p.stored))
	if err != nil {
		return Stored{}, fmt.Errorf("read block of partition %d: %w", p.partition, err)
	}
	if xxh3.Hash(stored) != p.storedSum {
		return Stored{}, corruptBlock(off, p.partition, "its stored bytes do not match their checksum")
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

// stored reads n bytes into buf or, without room there, into memory that grows as they come.
func (r *Reader) stored(buf []byte, n int) ([]byte, error) {
	if cap(buf) < n {
		buf = make([]byte, 0, min(n+n/8, firstRead)) // blocks differ in size: do not grow for each
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

// footer reads what comes after the footer's tag, which says that it lists count blocks, to the end of the input.
func (r *Reader) footer(off int64, count uint64) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: the footer at byte %d: %s", ErrCorrupt, off, fmt.Sprintf(format, args...))
	}
	if have := uint64(len(r.rows) / rowBytes); count != have {
		return bad("it lists %d blocks, the file has %d", count, have)
	}
	sum, tag := xxh3.New(), [tagBytes]byte(r.buf[:tagBytes])
	sum.Write(tag[:])
	for rows := r.rows; len(rows) > 0; {
		b := r.buf[:min(len(rows), len(r.buf))]
		if err := r.read(b); err != nil {
			return fmt.Errorf("read footer: %w", err)
		}
		if !bytes.Equal(b, rows[:len(b)]) {
			return bad("its list of blocks is not that of the blocks before it")
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
		return bad("its length, its checksum or the end mark is wrong")
	}
	t := parseTotals(b)
	if t.Entries != r.seen.Entries || t.RawBytes != r.seen.RawBytes {
		return bad("it says %d entries and %d raw bytes, the blocks have %d and %d", t.Entries, t.RawBytes, r.seen.Entries, r.seen.RawBytes)
	}
	if err := t.plausible(r.header.Kind); err != nil {
		return bad("it says %v", err)
	}
	// The digest is of what was proven right, so of the footer only now.
	r.digest.Write(tag[:])
	r.digest.Write(r.rows)
	r.digest.Write(b)
	r.totals = t
	return nil
}

// end checks that the input ends here, and that the file is the one expected.
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
		return fmt.Errorf("%w: it has %d bytes, the object has %d", ErrCorrupt, t.FileBytes, want)
	}
	if want := r.expect.Digest; !want.IsZero() && want != t.Digest {
		return fmt.Errorf("%w: its digest is %v, the object's is %v", ErrCorrupt, t.Digest, want)
	}
	r.totals = t
	return nil
}

// read fills b. Input that ends before is [ErrTruncated].
func (r *Reader) read(b []byte) error {
	n, err := io.ReadFull(r.src, b)
	r.off += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: at byte %d", ErrTruncated, r.off)
	}
	return err
}
