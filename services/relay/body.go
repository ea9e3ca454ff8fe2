package relay

import (
	"context"
	"io"
	"sync/atomic"

	"freshet.dev/services/relay/internal/segments"
)

// body is the part of an object that a response sends: a [wire.Source]. It holds at most one segment, and none while it waits
// for the next one.
type body struct {
	ctx    context.Context
	reader *segments.Reader
	unit   int64 // bytes of a segment
	left   span  // the bytes that are not sent yet
	sent   *atomic.Int64

	held *segments.Segment
	err  error // why there are no more bytes
}

// Hold implements [wire.Source]. It closes the reader when it returns an error: the sender then waits for the client, and the
// shared scan must not wait for the reader.
func (b *body) Hold() ([]byte, error) {
	if b.left.from >= b.left.to {
		b.reader.Close()
		return nil, io.EOF
	}
	index := b.left.from / b.unit
	b.held, b.err = b.reader.Segment(b.ctx, index)
	if b.err != nil {
		b.reader.Close()
		return nil, b.err
	}
	bytes, skip := b.held.Bytes(), b.left.from-index*b.unit
	return bytes[skip:min(skip+b.left.to-b.left.from, int64(len(bytes)))], nil
}

// Drop implements [wire.Source].
func (b *body) Drop(n int) {
	b.left.from += int64(n)
	b.sent.Add(int64(n))
	if b.held != nil {
		b.held.Release()
		b.held = nil
	}
}

// Read implements [io.Reader], for connections that are not of package wire.
func (b *body) Read(p []byte) (int, error) {
	part, err := b.Hold()
	if err != nil {
		return 0, err
	}
	n := copy(p, part)
	b.Drop(n)
	return n, nil
}
