package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
	"freshet.dev/pkg/store"
)

var (
	// errNone: the relay has not got what was asked for; see failure for what that means.
	errNone = errors.New("it says that there is none")
	// errSilent: the relay said nothing for longer than it was given, and the next one is asked.
	errSilent = errors.New("it is silent")
)

// failure is how every relay failed.
type failure struct{ attempts []error }

func (f *failure) Error() string {
	all := make([]string, len(f.attempts))
	for i, err := range f.attempts {
		all[i] = err.Error()
	}
	return strings.Join(all, "; ")
}

// Is is in place of Unwrap, because that one relay says that there is none does not make it so: all must who answered.
func (f *failure) Is(target error) bool {
	some := func(target error) bool {
		return slices.ContainsFunc(f.attempts, func(err error) bool { return errors.Is(err, target) })
	}
	switch target {
	case store.ErrNotFound:
		return some(errNone) && !some(ErrBusy) && !some(ErrAnswer)
	case ErrBusy, ErrAnswer, errSilent:
		return some(target)
	}
	return false
}

// first asks the relays in the order for key until one answers as it should, which ask says.
func (o *Origin) first(ctx context.Context, key []byte, ask func(question) error) error {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(o.cfg.Timeout)
	}
	failed := &failure{}
	order := o.relays.InOrder(key)
	for i, r := range order {
		q := question{origin: o, relay: r.Relay, ctx: ctx}
		if i < len(order)-1 {
			// The first choice may have to read what it gives from a far store: it gets more time than those that stand in.
			q.wait = max(time.Until(end)/2, time.Millisecond)
		}
		err := ask(q)
		if err == nil {
			return nil
		}
		err = o.note(ctx, r.Relay, err)
		failed.attempts = append(failed.attempts, err)
		switch cause := context.Cause(ctx); {
		case cause == nil:
		case errors.Is(cause, context.DeadlineExceeded):
			return failed
		default:
			return cause
		}
	}
	return failed
}

// question is what one relay is asked.
type question struct {
	origin *Origin
	relay  *relays.Relay
	ctx    context.Context
	wait   time.Duration // how long the relay may be silent; 0: as long as ctx
}

// ask sends a request. Without an error the status is 200 or 206 and the answer is the caller's to close.
func (q question) ask(method, path string, header http.Header) (*answer, error) {
	ctx, end := context.WithCancelCause(q.ctx)
	// The transport's own timeouts leave out the wait for a free connection: the timer covers everything.
	timer := time.AfterFunc(time.Hour, func() { end(errSilent) })
	a := &answer{relay: q.relay, ctx: ctx, end: end, timer: timer}
	a.limit(q.wait)
	res, err := q.do(ctx, method, path, header)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		a.Close()
		return nil, err
	}
	a.res = res
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return a, nil
	case http.StatusNotFound:
		err = absent{storeOf(res)}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		err = ErrBusy
	default:
		err = fmt.Errorf("%w: it answered %d %s", ErrAnswer, res.StatusCode, http.StatusText(res.StatusCode))
		if place := res.Header.Get(DamagedHeader); place != "" {
			err = damaged(place)
		}
	}
	// A connection whose answer was read can be used again.
	_, _ = io.CopyN(io.Discard, a, 4<<10)
	a.Close()
	return nil, err
}

func (q question) do(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, q.relay.URL().JoinPath(path).String(), nil)
	if err != nil {
		return nil, errors.New("the request cannot be made") // the error quotes the URL, which may hold a password
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "freshet-relay")
	res, err := q.origin.http.Do(req)
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err // the outer one repeats the URL
	}
	return res, err
}

// answer is one relay's answer.
type answer struct {
	relay *relays.Relay
	res   *http.Response // nil until there is one
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
}

// limit has the relay given up when nothing came for d, from now on; 0: it may be silent.
func (a *answer) limit(d time.Duration) {
	if d > 0 {
		a.timer.Reset(d)
	} else {
		a.timer.Stop()
	}
}

// Read reads the body. Its errors, but io.EOF, are the reason alone.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.res.Body.Read(p)
	if err != nil && err != io.EOF {
		if cause := context.Cause(a.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// Close releases the connection; it does not wait for the rest of the body.
func (a *answer) Close() {
	a.timer.Stop()
	a.end(context.Canceled)
	if a.res != nil {
		_ = a.res.Body.Close()
	}
}

// checkETag says that res is of another object. A proxy may weaken or drop an ETag.
func checkETag(res *http.Response, digest dataset.Digest) error {
	etag := strings.TrimPrefix(res.Header.Get("ETag"), "W/")
	if etag != "" && etag != strconv.Quote(digest.String()) {
		return fmt.Errorf("%w: its ETag is %.80s, want the digest", ErrAnswer, etag)
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: it has the Content-Encoding %.40q, which was not asked for", ErrAnswer, enc)
	}
	return nil
}
