package input

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"freshet.dev/pkg/publish/internal/parquet"
)

// Limits bounds the decompression of an input.
type Limits struct {
	// Windows admits the windows of zstd data.
	Windows *Windows
	// Reserve, if not nil, is called with the memory of the input's window, whenever it changes.
	Reserve func(bytes int64)
	// MaxDecompressedBytes is the most bytes that compressed data may have once it is decompressed; 0 is no limit.
	MaxDecompressedBytes int64
	// Ratio is how many times its own size compressed data may have once it is decompressed; 0 is no limit. It does not bound data of up to
	// RatioFrom bytes of text.
	Ratio, RatioFrom int64
	// File is the input if it is a file on disk; else nil. See [RandomAccess].
	File *io.SectionReader
	// Spool is the path of a temporary file, which a Parquet file that is not on disk is written to. Close removes it.
	Spool string
}

// Stream is the text of an input: decompressed, without byte order mark.
type Stream struct {
	*bufio.Reader
	body   *Body
	packed *unpacked // nil if the body is not compressed
	limits Limits
	window uint64 // taken of limits.Windows
	zstd   *zstd.Decoder
	rows   *parquet.File // of a Parquet file
	spool  *os.File      // with it, unless it was on disk
}

// TextBytes returns how many bytes of text, or of pages of a Parquet file, were read so far, once decompressed. It is for the goroutine
// that reads the Stream.
func (s *Stream) TextBytes() int64 {
	if s.rows != nil {
		return s.rows.BytesRead()
	}
	if s.packed != nil {
		return s.packed.bytes
	}
	return s.body.BytesRead()
}

// Close releases the decompressor, its window, and what a Parquet file takes. It does not touch the Body.
func (s *Stream) Close() {
	if s.rows != nil {
		s.rows.Close()
	}
	if s.spool != nil {
		// A file that is left goes with its folder.
		_ = s.spool.Close()
		_ = os.Remove(s.spool.Name())
	}
	s.closeZstd()
	s.Reader, s.rows, s.spool = nil, nil, nil
}

// closeZstd releases the zstd decoder and all memory that was admitted.
func (s *Stream) closeZstd() {
	if s.zstd != nil {
		s.zstd.Close()
	}
	s.zstd = nil
	s.limits.Windows.release(s.window)
	s.setWindow(0)
}

// admit waits until there is memory for a window.
func (s *Stream) admit(ctx context.Context, window uint64) error {
	if err := s.limits.Windows.check(window); err != nil {
		return err
	}
	if window <= s.window {
		return nil // a decoder keeps the largest window that it had
	}
	if err := s.limits.Windows.take(ctx, window-s.window); err != nil {
		return err
	}
	s.setWindow(window)
	return nil
}

func (s *Stream) setWindow(window uint64) {
	s.window = window
	if s.limits.Reserve != nil {
		s.limits.Reserve(int64(window))
	}
}

// NewStream detects the compression of body by its first bytes, and decompresses it.
func NewStream(body *Body, limits Limits) (*Stream, error) {
	s := &Stream{Reader: bufio.NewReaderSize(body, 64<<10), body: body, limits: limits}
	opened := false
	defer func() {
		if !opened { // also after a panic, so that the window is free again
			s.Close()
		}
	}()
	err := s.decompress(body)
	if err == nil {
		err = s.skipByteOrderMark()
	}
	if err != nil {
		if r, ok := errors.AsType[*Refusal](err); ok {
			r.Line = 1
		}
		return nil, err
	}
	opened = true
	return s, nil
}

func (s *Stream) decompress(body *Body) error {
	head, err := s.Peek(6)
	if err != nil && err != io.EOF {
		return err
	}
	packed := &unpacked{body: body, limits: s.limits}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		packed.name = "gzip"
		z, err := gzip.NewReader(s.Reader)
		if err != nil {
			return packed.explain(err)
		}
		packed.r = z
	case isZstd(head):
		packed.name = "zstd"
		admitted := &frames{r: s.Reader, admit: func(window uint64) error { return s.admit(body.ctx, window) }}
		z, err := zstd.NewReader(admitted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(s.limits.Windows.each))
		if err != nil {
			return packed.explain(err)
		}
		packed.r, s.zstd = z, z
	case bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte("\xfd7zXZ")), bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return &Refusal{
			Problem: "the input is compressed in a way that is not read (bzip2, xz or zip)",
			Hint:    "send it uncompressed or compressed with gzip or zstd",
		}
	default:
		return nil
	}
	s.Reader, s.packed = bufio.NewReaderSize(packed, 64<<10), packed
	return nil
}

// isZstd reports whether head begins a zstd frame or a skippable frame (RFC 8878, sections 3.1.1 and 3.1.2).
func isZstd(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	return bytes.Equal(head[:4], []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

func (s *Stream) skipByteOrderMark() error {
	head, err := s.Peek(3)
	switch {
	case err != nil && err != io.EOF:
		return err
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, err := s.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return &Refusal{Problem: "the input is UTF-16", Hint: "convert it to UTF-8"}
	}
	return nil
}

// First returns the first byte that is no blank, if it is near the start; ok is false if the input has none.
func (s *Stream) First() (c byte, ok bool, err error) {
	head, err := s.Peek(4 << 10)
	if err != nil && err != io.EOF {
		return 0, false, err
	}
	if head = bytes.TrimLeft(head, " \t\r\n"); len(head) == 0 {
		return 0, false, nil
	}
	return head[0], true, nil
}

// unpacked is a decompressed body, within limits. It distinguishes the two failures of a decompressor's Read: the body could not be read,
// or its bytes do not decompress.
type unpacked struct {
	name   string
	r      io.Reader
	body   *Body
	limits Limits
	bytes  int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	// A few bytes of the body can make gigabytes, during which the body is not read.
	if u.body.ctx.Err() != nil {
		return 0, context.Cause(u.body.ctx)
	}
	n, err := u.r.Read(p)
	u.bytes += int64(n)
	if err != nil && err != io.EOF {
		return n, u.explain(err)
	}
	if refused := u.check(); refused != nil {
		return 0, refused
	}
	return n, err
}

// check refuses data that has become too large.
func (u *unpacked) check() error {
	l := u.limits
	switch {
	case l.MaxDecompressedBytes > 0 && u.bytes > l.MaxDecompressedBytes:
		return &Refusal{
			Problem: fmt.Sprintf("the %s data has more than %d bytes once it is decompressed", u.name, l.MaxDecompressedBytes),
			Hint:    "raise FRESHET_TEXT_BYTES of the publisher (MaxDecompressedBytes of the library)",
			Err:     ErrTooLarge,
		}
	case l.Ratio > 0 && u.bytes > l.RatioFrom && u.bytes/l.Ratio > u.body.BytesRead():
		return &Refusal{
			Problem: fmt.Sprintf("the %s data has more than %d times its size once it is decompressed", u.name, l.Ratio),
			Hint:    "send it uncompressed; FRESHET_BODY_BYTES of the publisher bounds an uncompressed body",
			Err:     ErrTooLarge,
		}
	}
	return nil
}

func (u *unpacked) explain(err error) error {
	if failure := u.body.failure(); failure != nil {
		return failure
	}
	if refused, ok := errors.AsType[*Refusal](err); ok {
		return refused
	}
	if errors.Is(err, ErrBusy) || u.body.ctx.Err() != nil {
		return err
	}
	r := &Refusal{Problem: "the " + u.name + " data is damaged: " + err.Error(), Err: err}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		r.Problem = "the " + u.name + " data is cut short"
		r.Hint = "the transfer or the program that wrote it was stopped; send it again, whole"
	case errors.Is(err, zstd.ErrUnknownDictionary):
		r.Problem = "the zstd data was compressed with a dictionary, which the publisher does not have"
		r.Hint = "compress it without a dictionary"
	default:
		r.Hint = "test the file with " + u.name + " -t"
	}
	return r
}
