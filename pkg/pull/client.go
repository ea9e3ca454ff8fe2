package pull

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"freshet.dev/pkg/relays"
)

// Client reads objects and version records from relays. It is safe for concurrent use.
type Client struct {
	cfg      Config
	relays   *relays.Set
	http     *http.Client
	given    bool // http has the transport of Config
	suspects suspects
	hedges   *hedgeBudget
	open     *connections    // of the client's own transport
	ctx      context.Context // ends with Close
	close    context.CancelFunc
}

// New returns a client of the relays in cfg. It opens no connection.
func New(cfg Config) (*Client, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.withDefaults(), hedges: newHedgeBudget(), given: cfg.Transport != nil, open: new(connections)}
	c.ctx, c.close = context.WithCancel(context.Background())
	var err error
	if c.relays, err = relays.New(c.cfg.Relays, c.cfg.Distrust); err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: c.cfg.Transport}
	if c.cfg.Transport == nil {
		c.http.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            c.open.count((&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext),
			TLSHandshakeTimeout:    tlsTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxConnsPerHost:        c.cfg.MaxConnections,
			MaxIdleConnsPerHost:    min(c.cfg.MaxConnections, maxIdle),
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         64 << 10,
			// HTTP/2 would send all reads of a relay over one connection to each relay.
			ForceAttemptHTTP2: c.cfg.TotalTimeout == 0,
			// Objects are compressed inside, and their length is checked as sent.
			DisableCompression: true,
		}
	}
	return c, nil
}

// Close closes idle connections. It does not end reads in progress; cancel their contexts for that.
func (c *Client) Close() {
	c.close()
	if !c.given {
		c.http.CloseIdleConnections()
	}
}

// Health returns the health of each relay, in the configured order.
func (c *Client) Health() []relays.Health { return c.relays.Health() }

// canceled reports whether ctx ended before its deadline.
func canceled(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// recordFailure records the outcome of an attempt without a usable answer, and reports whether r has failed. A relay has
// not failed if it is busy, lacks the object, or reports damage in its store.
func (c *Client) recordFailure(r *relays.Relay, a Attempt) bool {
	switch {
	case a.Busy():
		c.relays.Busy(r)
	case a.notFound(), a.damaged():
	default:
		c.fail(r, a.Err)
		return true
	}
	return false
}

func (c *Client) fail(r *relays.Relay, err error) {
	if first := c.relays.Fail(r, err); first {
		c.cfg.Changed(r.String(), err)
	}
}

func (c *Client) served(r *relays.Relay) {
	if recovered := c.relays.Served(r); recovered {
		c.cfg.Changed(r.String(), nil)
	}
}
