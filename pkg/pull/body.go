package pull

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Body is the body of an answer. Its Read returns io.EOF only when exactly the expected number of bytes came. It is for
// one goroutine, and must be closed.
type Body struct {
	from   *relay
	relays *relays
	res    *http.Response
	stall  time.Duration
	ctx    context.Context // of the request; its cause tells a stall from the caller's cancellation
	cancel context.CancelCauseFunc
	timer  *time.Timer // cancels the request; runs only while a Read waits, so that a slow reader is no stall
	want   int64       // bytes of the whole; -1 if unknown
	got    int64
	err    error
}

// Relay returns the base URL of the relay that answered, without its password.
func (b *Body) Relay() string { return b.from.String() }

// Refuse says that the bytes were not those of the object. The relay is then asked after the others for a while.
func (b *Body) Refuse() { b.relays.fail(b.from) }

// Read reads on. It fails with [ErrStalled] when nothing comes for the client's StallTimeout, and with [ErrAnswer]
// when the body is longer or shorter than it should be.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.want >= 0 {
		// One byte more than what remains tells a body that is too long.
		p = p[:min(int64(len(p)), b.want-b.got+1)]
	}
	b.timer.Reset(b.stall)
	n, err := b.res.Body.Read(p)
	b.timer.Stop()
	b.got += int64(n)
	switch {
	case b.want >= 0 && b.got > b.want:
		n--
		b.err = fmt.Errorf("%w: the body is longer than the %d bytes of the version record", ErrAnswer, b.want)
	case err == io.EOF && b.want >= 0 && b.got < b.want:
		b.err = fmt.Errorf("%w: the body ends after %d of %d bytes: %w", ErrAnswer, b.got, b.want, io.ErrUnexpectedEOF)
	case err == io.EOF:
		b.err = io.EOF
	case err != nil:
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		b.err = fmt.Errorf("read from relay %s after %d bytes: %w", b.from, b.got, err)
	}
	switch {
	case b.err == nil:
	case b.err == io.EOF:
		b.from.failed.Store(0)
	default:
		b.relays.fail(b.from)
	}
	return n, b.err
}

// Close releases the connection; it does not wait for the rest of the body.
func (b *Body) Close() error {
	b.timer.Stop()
	b.cancel(context.Canceled)
	return b.res.Body.Close()
}
