package pull

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// Connections are those of a client's own transport.
type Connections struct {
	// Max is how many there may be to each relay.
	Max int
	// Open is how many there are to all relays.
	Open int
	// Failed counts those that could not be made.
	Failed uint64
}

// Connections returns the connections of the client; ok is false if its transport is the caller's.
func (c *Client) Connections() (now Connections, ok bool) {
	return Connections{Max: c.cfg.MaxConnections, Open: int(c.open.open.Load()), Failed: c.open.failed.Load()}, !c.given
}

// connections counts connections.
type connections struct {
	open   atomic.Int64
	failed atomic.Uint64
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// count returns dial, with its connections counted.
func (c *connections) count(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			c.failed.Add(1)
			return nil, err
		}
		c.open.Add(1)
		return &counted{Conn: conn, closed: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
	}
}

// counted is a connection that counts its end.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}
