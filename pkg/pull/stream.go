package pull

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"freshet.dev/pkg/relays"
)

// stream is the body of one relay's answer.
type stream struct {
	from   *relays.Relay
	res    *http.Response
	ctx    context.Context // of the request; its cause tells a stall from the caller's cancellation
	cancel context.CancelCauseFunc
	timer  *time.Timer // cancels the request; runs only while a Read waits, so that a slow reader is no stall
	stall  time.Duration
	err    error

	release context.CancelFunc // of a context that ctx is of; nil if there is none
}

// newStream takes over res, the answer to a request of ctx, which cancel ends.
func newStream(ctx context.Context, cancel context.CancelCauseFunc, from *relays.Relay, res *http.Response, stall time.Duration) *stream {
	s := &stream{from: from, res: res, ctx: ctx, cancel: cancel, stall: stall}
	s.timer = time.AfterFunc(time.Hour, func() { cancel(fmt.Errorf("%w: no byte within %s", ErrStalled, stall)) })
	s.timer.Stop()
	return s
}

// Read reads on, and fails when nothing comes for the stall timeout. Its errors, but io.EOF, are the reason alone.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.timer.Reset(s.stall)
	n, err := s.res.Body.Read(p)
	s.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
	}
	s.err = err
	return n, err
}

// Close releases the connection; it does not wait for the rest of the body.
func (s *stream) Close() {
	s.timer.Stop()
	s.cancel(context.Canceled)
	s.res.Body.Close()
	if s.release != nil {
		s.release()
	}
}
