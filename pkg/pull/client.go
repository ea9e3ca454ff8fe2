package pull

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// Client asks relays. It is safe for concurrent use.
type Client struct {
	cfg    Config
	relays *relays.Set
	http   *http.Client
	blame  blame
	hedges *hedges
	ctx    context.Context // ends with Close
	close  context.CancelFunc
}

// New returns a client of the relays in cfg. It dials nothing yet. Its connections are its own: they are not shared
// with http.DefaultClient.
func New(cfg Config) (*Client, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.withDefaults(), hedges: newHedges()}
	c.ctx, c.close = context.WithCancel(context.Background())
	var err error
	if c.relays, err = relays.New(c.cfg.Relays, c.cfg.Distrust); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        c.cfg.MaxConnections,
		MaxIdleConnsPerHost:    c.cfg.MaxConnections,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10,
		ForceAttemptHTTP2:      true,
		// Objects are compressed inside, and their length is checked as sent.
		DisableCompression: true,
	}}
	return c, nil
}

// Close closes the connections that no pull uses. Pulls under way go on; cancel their contexts to end them.
func (c *Client) Close() {
	c.close()
	c.http.CloseIdleConnections()
}

// Health returns how each relay did, in the configured order.
func (c *Client) Health() []relays.Health { return c.relays.Health() }

// Object returns the bytes of the object o. If a relay says that it is busy, Object waits and asks again, for at most
// the client's Patience. The error of a call that got no answer is an *[Error], or ctx's. ctx also ends the body.
//
// step, if not nil, is called whenever the call or the body's Read did something else than hand on bytes: a relay failed
// and the next is asked, or time passes on purpose. Between two calls, or between one and a byte, lies at most one
// HeaderTimeout or StallTimeout: who sees neither for longer sees a hang.
func (c *Client) Object(ctx context.Context, o dataset.Object, step func()) (*Body, error) {
	if step == nil {
		step = func() {}
	}
	b := &Body{c: c, ctx: ctx, object: o, step: step, busy: make(map[*relays.Relay]busy), last: time.Now(), pauses: newPauses()}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// Latest returns the record of the newest version of the dataset that a relay knows, with [ErrNotFound] in the error
// when every relay says that there is none.
func (c *Client) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, fmt.Errorf("pull the latest version: %w", err)
	}
	what, path := "the latest version of "+name, "/v1/datasets/"+name+"/latest"
	failed := &Error{What: what}
	for _, r := range c.relays.InOrder([]byte(name)) {
		rec, _, attempt := c.latest(ctx, r.Relay, path, name)
		if attempt.Err == nil {
			c.relays.Served(r.Relay)
			return rec, nil
		}
		if ctx.Err() != nil {
			return dataset.VersionRecord{}, fmt.Errorf("pull %s: %w", what, context.Cause(ctx))
		}
		if attempt.Status != http.StatusNotFound && !attempt.busy() {
			c.relays.Fail(r.Relay, attempt.Err)
		}
		failed.Attempts = append(failed.Attempts, attempt)
	}
	return dataset.VersionRecord{}, failed
}

// latest asks one relay for the newest version's record.
func (c *Client) latest(ctx context.Context, r *relays.Relay, path, name string) (rec dataset.VersionRecord, store dataset.StoreID, attempt Attempt) {
	s, attempt := c.get(ctx, r, path, nil)
	_ = store.UnmarshalText([]byte(attempt.store)) // one that is not readable names none
	if attempt.Err != nil {
		return rec, store, attempt
	}
	defer s.Close()
	attempt.Status = http.StatusOK
	text, err := io.ReadAll(io.LimitReader(s, dataset.MaxRecordBytes+1))
	switch {
	case err != nil:
		err = fmt.Errorf("read from relay %s: %w", r, err)
	case len(text) > dataset.MaxRecordBytes:
		err = fmt.Errorf("%w: the version record has more than %d bytes", ErrAnswer, dataset.MaxRecordBytes)
	default:
		if rec, err = dataset.DecodeVersionRecord(text); err != nil {
			err = fmt.Errorf("%w: %w", ErrAnswer, err)
		} else if rec.Dataset != name {
			err = fmt.Errorf("%w: it is about dataset %q", ErrAnswer, rec.Dataset)
		}
	}
	attempt.Err = err
	return rec, store, attempt
}

// get sends one request with the given header fields to r. Without an error in the attempt, the status is 200, or 206 if
// the header asks for a range, and the stream is the caller's to close.
func (c *Client) get(ctx context.Context, r *relays.Relay, path string, header http.Header) (*stream, Attempt) {
	attempt := Attempt{Relay: r.String()}
	ctx, cancel := context.WithCancelCause(ctx)
	// The transport's own timeouts leave out the wait for a free connection: this timer covers everything up to the
	// body.
	timer := time.AfterFunc(c.cfg.HeaderTimeout, func() {
		cancel(fmt.Errorf("%w: no response header within %s", ErrStalled, c.cfg.HeaderTimeout))
	})
	fail := func(err error) (*stream, Attempt) {
		timer.Stop()
		cancel(context.Canceled)
		attempt.Err = err
		return nil, attempt
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL().JoinPath(path).String(), nil)
	if err != nil {
		return fail(fmt.Errorf("make the request: %w", err))
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", "freshet-instance")
	res, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fail(cause)
		}
		if e, ok := err.(*url.Error); ok {
			err = e.Err // the outer one repeats the URL
		}
		return fail(err)
	}
	timer.Stop()
	attempt.store = res.Header.Get(StoreHeader)
	s := newStream(ctx, cancel, r, res, c.cfg.StallTimeout)
	if res.StatusCode != http.StatusOK && (res.StatusCode != http.StatusPartialContent || header.Get("Range") == "") {
		attempt.Status = res.StatusCode
		attempt.RetryAfter = retryAfter(res.Header.Get("Retry-After"))
		text, kind := detail(s)
		attempt.damaged = res.StatusCode == http.StatusBadGateway && kind == DamagedKind
		err := fmt.Errorf("answered %s%s", status(res), text)
		s.Close()
		return fail(err)
	}
	return s, attempt
}
