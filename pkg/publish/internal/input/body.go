package input

import (
	"context"
	"fmt"
	"io"

	"freshet.dev/pkg/internal/guard"
)

// Body reads another reader ahead, on a separate goroutine, so that reading overlaps with parsing and so that Read returns as soon as its
// context ends, even while the other reader blocks. The goroutine ends with the context or with the reader's next return, whichever is
// later. Nothing waits for it, because a Read cannot be interrupted.
type Body struct {
	ctx    context.Context
	filled chan filled
	free   chan []byte
	cur    filled
	rest   []byte // the unread part of cur
	read   int64
}

type filled struct {
	data []byte
	err  error
}

// readAhead buffers of batchBytes are in flight: one being filled, one waiting, one being read.
const readAhead = 3

// NewBody returns a Body that reads r until ctx ends. The caller must end ctx.
func NewBody(ctx context.Context, r io.Reader) *Body {
	b := &Body{ctx: ctx, filled: make(chan filled, readAhead), free: make(chan []byte, readAhead)}
	for range readAhead {
		b.free <- nil // allocated when first filled: most inputs are small
	}
	go b.pump(r)
	return b
}

func (b *Body) pump(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-b.free:
		case <-b.ctx.Done():
			return
		}
		if buf == nil {
			buf = make([]byte, batchBytes)
		}
		var f filled
		// A panic of the caller's reader becomes an error: it must not end the process.
		if err := guard.Try(func() error { f = fill(r, buf); return nil }); err != nil {
			f = filled{err: err}
		}
		if f.err != nil && f.err != io.EOF {
			// Wrapped, because a reader of this Body may return a bare io.ErrUnexpectedEOF, which a cut HTTP body causes, for other reasons.
			f.err = fmt.Errorf("read: %w", f.err)
		}
		select {
		case b.filled <- f:
		case <-b.ctx.Done():
			return
		}
		if f.err != nil {
			return
		}
	}
}

// fill reads until buf is full or r fails or ends. Unlike [io.ReadFull] it returns r's error unchanged, with the bytes read.
func fill(r io.Reader, buf []byte) filled {
	n := 0
	for idle := 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		if m < 0 || m > len(buf)-n {
			return filled{data: buf[:n], err: fmt.Errorf("the reader says that it read %d bytes into %d", m, len(buf)-n)}
		}
		n += m
		if err != nil {
			return filled{data: buf[:n], err: err}
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle == 100 {
			return filled{data: buf[:n], err: io.ErrNoProgress}
		}
	}
	return filled{data: buf[:n]}
}

// Read implements [io.Reader]. It returns errors other than io.EOF if the input could not be read.
func (b *Body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.cur.err != nil {
			return 0, b.cur.err
		}
		if b.cur.data != nil {
			b.free <- b.cur.data[:cap(b.cur.data)] // never blocks: there are readAhead buffers in all
			b.cur.data = nil
		}
		select {
		case b.cur = <-b.filled:
		case <-b.ctx.Done():
			b.cur = filled{err: context.Cause(b.ctx)}
		}
		b.rest = b.cur.data
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	b.read += int64(n)
	return n, nil
}

// BytesRead returns how many bytes Read has returned.
func (b *Body) BytesRead() int64 { return b.read }

// failure returns the error of reading, nil if there was none.
func (b *Body) failure() error {
	if b.cur.err == io.EOF {
		return nil
	}
	return b.cur.err
}
