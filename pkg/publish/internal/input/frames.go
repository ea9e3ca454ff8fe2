package input

import (
	"bufio"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// frames passes zstd frames on to a decoder. It calls admit with the window of each frame before the decoder reads the header, because a
// decoder allocates the whole window. It follows the lengths of headers and blocks (RFC 8878, section 3.1) and decodes nothing.
type frames struct {
	r       *bufio.Reader
	admit   func(window uint64) error
	left    int64 // bytes to pass on before the next header
	inFrame bool
	checked bool  // the frame ends with a checksum
	err     error // of the header that comes next
}

func (f *frames) Read(p []byte) (int, error) {
	if f.left == 0 && f.err == nil {
		f.err = f.next()
	}
	if f.left == 0 {
		return 0, f.err
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// next reads the header of a frame or block, and sets left to the distance of the next header.
func (f *frames) next() error {
	if f.inFrame {
		return f.block()
	}
	head, err := f.r.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 || err != nil && err != io.EOF {
		return err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return fmt.Errorf("header of a frame: %w", err) // wrapped: the decoder treats the bare errors of package io as the end
	}
	if h.Skippable {
		f.left = int64(h.HeaderSize) + int64(h.SkippableSize)
		return nil
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if err := f.admit(window); err != nil {
		return err
	}
	f.left, f.inFrame, f.checked = int64(h.HeaderSize), true, h.HasCheckSum
	return nil
}

func (f *frames) block() error {
	const rle, reserved = 1, 3
	head, err := f.r.Peek(3)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("header of a block: %w", err)
	}
	header := int64(head[0]) | int64(head[1])<<8 | int64(head[2])<<16
	content := header >> 3
	switch header >> 1 & 3 {
	case rle:
		content = 1
	case reserved:
		return fmt.Errorf("header of a block: %w", zstd.ErrReservedBlockType)
	}
	f.left = 3 + content
	if last := header&1 == 1; last {
		f.inFrame = false
		if f.checked {
			f.left += 4
		}
	}
	return nil
}
