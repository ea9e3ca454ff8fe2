package pull

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// query is a request that can go to any relay.
type query struct {
	method string // empty means GET
	path   string
	header http.Header
	limit  time.Duration // of the wait for the header of the answer; 0 means none
	whole  bool          // limit includes the body of the answer
}

// stream is the body of one relay's answer.
type stream struct {
	from   *relays.Relay
	res    *http.Response
	ctx    context.Context // of the request; its cause tells a stall from the caller's cancellation
	cancel func()
	stall  *time.Timer   // cancels the request; runs only while a Read waits, so that a slow reader is not a stall
	limit  time.Duration // of each Read; 0 means none
	err    error

	release func() // of the parent of ctx; nil for none
}

// send sends one request to r. Without an error in the attempt, the status is 200, or 206 if q requests a range, and the
// caller must close the stream.
func (c *Client) send(ctx context.Context, r *relays.Relay, q query) (*stream, Attempt) {
	attempt := Attempt{Relay: r.String()}
	ctx, cancel := context.WithCancelCause(ctx)
	// The transport's own timeouts exclude the wait for a free connection. This timer includes it, and that for the lane.
	timer := cancelAfter(cancel, "no response header", q.limit)
	_, leave, err := c.cfg.Lane.Enter(ctx)
	if err != nil {
		leave = func() {}
	}
	end := func() {
		timer.Stop()
		cancel(context.Canceled)
		leave()
	}
	var res *http.Response
	if err == nil {
		res, err = func() (*http.Response, error) {
			panics := true
			defer func() {
				if panics { // of a caller's transport; the place in the lane must not be lost
					end()
				}
			}()
			res, err := c.roundTrip(ctx, r, q)
			panics = false
			return res, err
		}()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		end()
		attempt.Err = err
		return nil, attempt
	}
	s := &stream{from: r, res: res, ctx: ctx, cancel: end, limit: c.cfg.StallTimeout, stall: cancelAfter(cancel, "no byte", c.cfg.StallTimeout)}
	s.stall.Stop()
	attempt.Status = res.StatusCode
	if attempt.store.UnmarshalText([]byte(res.Header.Get(StoreHeader))) != nil {
		attempt.store = dataset.StoreID{} // an unreadable id names no store
	}
	if res.StatusCode != http.StatusOK && (res.StatusCode != http.StatusPartialContent || q.header.Get("Range") == "") {
		if attempt.RetryAfter = retryAfter(res.Header.Get("Retry-After")); attempt.RetryAfter == 0 {
			attempt.RetryAfter = c.cfg.RetryAfter
		}
		attempt.Err = failure(s)
		s.Close()
		return nil, attempt
	}
	if !q.whole {
		timer.Stop()
	}
	return s, attempt
}

// cancelAfter starts a timer that cancels a request with [ErrStalled]. A limit of zero never ends.
func cancelAfter(cancel context.CancelCauseFunc, what string, limit time.Duration) *time.Timer {
	if limit == 0 {
		limit = math.MaxInt64
	}
	return time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w: %s within %s", ErrStalled, what, limit)) })
}

func (c *Client) roundTrip(ctx context.Context, r *relays.Relay, q query) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, r.URL().JoinPath(q.path).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("create the request: %w", withoutURL(err))
	}
	maps.Copy(req.Header, q.header)
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if c.given {
		req.Header.Set("Accept-Encoding", "identity") // the client's own transport has DisableCompression
	}
	res, err := c.http.Do(req)
	return res, withoutURL(err)
}

// withoutURL removes the URL from the error, because it repeats the relay's and may hold a password.
func withoutURL(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

// Read reads from the body, and fails when no byte comes for the stall timeout. Except for io.EOF, its errors are the
// cause alone.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.limit > 0 {
		s.stall.Reset(s.limit)
	}
	n, err := s.res.Body.Read(p)
	s.stall.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(s.ctx); cause != nil {
			err = cause
		}
	}
	s.err = err
	return n, err
}

// decode reads an answer of at most [dataset.MaxRecordBytes], and passes it to f.
func (s *stream) decode(f func([]byte) error) error { return s.decodeUpTo(dataset.MaxRecordBytes, f) }

// decodeUpTo reads an answer of at most limit bytes, and passes it to f.
func (s *stream) decodeUpTo(limit int64, f func([]byte) error) error {
	text, err := io.ReadAll(io.LimitReader(s, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("read from relay %s: %w", s.from, err)
	case int64(len(text)) > limit:
		return fmt.Errorf("%w: the body has more than %d bytes", ErrAnswer, limit)
	}
	if err := f(text); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

// Close releases the connection. It does not wait for the rest of the body.
func (s *stream) Close() {
	s.stall.Stop()
	s.cancel()
	s.res.Body.Close()
	if s.release != nil {
		s.release()
	}
}
