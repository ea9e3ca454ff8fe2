package pull

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"freshet.dev/pkg/dataset"
)

// maxRecordBytes bounds a version record; one with dataset.MaxDeltas deltas and all its labels is below 200 KiB.
const maxRecordBytes = 1 << 20

// Client asks relays. It is safe for concurrent use.
type Client struct {
	cfg    Config
	relays relays
	http   *http.Client
}

// New returns a client of the relays in cfg. It dials nothing yet. Its connections are its own: they are not shared
// with http.DefaultClient.
func New(cfg Config) (*Client, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.withDefaults(), relays: relays{start: time.Now()}}
	for _, text := range cfg.Relays {
		base, err := parseRelay(text)
		if err != nil {
			return nil, err
		}
		c.relays.all = append(c.relays.all, &relay{base: base})
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
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Object returns the body of the object o. When a relay fails after its answer began, the error comes from the body's
// Read, and the next call begins at another relay. The error of a call that got no answer is an *[Error], or ctx's.
func (c *Client) Object(ctx context.Context, o dataset.Object) (*Body, error) {
	what := "object " + o.Digest.String()
	return ask(ctx, c, what, "/v1/objects/"+o.Digest.String(), func(b *Body) (*Body, error) {
		if err := checkObject(b.res, o); err != nil {
			return nil, err
		}
		b.want = o.Bytes
		return b, nil
	})
}

// Latest returns the record of the newest version of the dataset that a relay knows, with [ErrNotFound] in the error
// when every relay says that there is none.
func (c *Client) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, fmt.Errorf("pull the latest version: %w", err)
	}
	return ask(ctx, c, "the latest version of "+name, "/v1/datasets/"+name+"/latest", func(b *Body) (dataset.VersionRecord, error) {
		defer b.Close()
		text, err := io.ReadAll(io.LimitReader(b, maxRecordBytes+1))
		if err != nil {
			return dataset.VersionRecord{}, err
		}
		if len(text) > maxRecordBytes {
			return dataset.VersionRecord{}, fmt.Errorf("%w: the version record has more than %d bytes", ErrAnswer, maxRecordBytes)
		}
		rec, err := dataset.DecodeVersionRecord(text)
		if err != nil {
			return dataset.VersionRecord{}, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if rec.Dataset != name {
			return dataset.VersionRecord{}, fmt.Errorf("%w: it is about dataset %q", ErrAnswer, rec.Dataset)
		}
		return rec, nil
	})
}

// ask asks the relays one after the other until accept takes an answer. accept owns the body when it returns no error.
func ask[T any](ctx context.Context, c *Client, what, path string, accept func(*Body) (T, error)) (T, error) {
	var none T
	failed := &Error{What: what}
	for _, r := range c.relays.inOrder() {
		b, attempt := c.get(ctx, r, path)
		if attempt.Err == nil {
			v, err := accept(b)
			if err == nil {
				return v, nil
			}
			b.Close()
			attempt.Status, attempt.Err = http.StatusOK, err
		}
		if ctx.Err() != nil {
			return none, fmt.Errorf("pull %s: %w", what, context.Cause(ctx))
		}
		if attempt.Status != http.StatusNotFound {
			c.relays.fail(r)
		}
		failed.Attempts = append(failed.Attempts, attempt)
	}
	return none, failed
}

// get sends one request to r. Without an error in the attempt, the status is 200 and the body is the caller's to close.
func (c *Client) get(ctx context.Context, r *relay, path string) (*Body, Attempt) {
	attempt := Attempt{Relay: r.String()}
	ctx, cancel := context.WithCancelCause(ctx)
	// The transport's own timeouts leave out the wait for a free connection: this timer covers everything up to the
	// body.
	timer := time.AfterFunc(c.cfg.HeaderTimeout, func() {
		cancel(fmt.Errorf("%w: no response header within %s", ErrStalled, c.cfg.HeaderTimeout))
	})
	fail := func(err error) (*Body, Attempt) {
		timer.Stop()
		cancel(context.Canceled)
		attempt.Err = err
		return nil, attempt
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base.JoinPath(path).String(), nil)
	if err != nil {
		return fail(fmt.Errorf("make the request: %w", err))
	}
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
	b := &Body{
		from: r, relays: &c.relays, res: res, want: -1, stall: c.cfg.StallTimeout, ctx: ctx, cancel: cancel,
		timer: time.AfterFunc(time.Hour, func() {
			cancel(fmt.Errorf("%w: no byte within %s", ErrStalled, c.cfg.StallTimeout))
		}),
	}
	b.timer.Stop()
	if res.StatusCode != http.StatusOK {
		attempt.Status = res.StatusCode
		attempt.RetryAfter = retryAfter(res.Header.Get("Retry-After"))
		err := fmt.Errorf("answered %s%s", status(res), detail(b))
		b.Close()
		return fail(err)
	}
	return b, attempt
}
