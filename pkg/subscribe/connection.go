package subscribe

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/redact"
)

// connection is the connection to NATS, which the subscriber has made or the caller has given.
type connection struct {
	*nats.Conn
	// down returns why there is no connection to a server; nil while there is one.
	down func() error
	// release ends the subscriber's use of the connection.
	release func()
}

// connect returns the connection of cfg without waiting for a server.
func connect(cfg Config) (connection, error) {
	if cfg.NATSConn != nil {
		return given(cfg.NATSConn, cfg.Log)
	}
	link, err := events.Dial(cfg.NATS, cfg.Instance, cfg.Log, cfg.NATSOptions...)
	if err != nil {
		return connection{}, fmt.Errorf("%w: NATS or NATSOptions: %w", ErrConfig, err)
	}
	return connection{Conn: link.Conn, down: link.Err, release: link.Close}, nil
}

// inUse has the connections of callers that serve an open subscriber. The connection itself cannot tell: its error handler is a
// function, and functions cannot be compared.
var inUse sync.Map // *nats.Conn

// given returns the caller's connection. Its release puts back the error handler, which the listener to events replaces. A second
// subscriber on the connection would lose its handler by the release of the first, and with it the reports of lost messages.
func given(nc *nats.Conn, log *slog.Logger) (connection, error) {
	if _, used := inUse.LoadOrStore(nc, true); used {
		return connection{}, fmt.Errorf("%w: NATSConn serves another open Subscriber; close that one first, or make a connection for each", ErrConfig)
	}
	if !nc.Opts.AllowReconnect || nc.Opts.MaxReconnect >= 0 {
		log.Warn("NATSConn gives up after a long outage of NATS, and the datasets then become stale; make it with nats.MaxReconnects(-1)",
			"max_reconnects", nc.Opts.MaxReconnect)
	}
	handler := nc.ErrorHandler()
	return connection{Conn: nc, down: func() error { return downErr(nc) }, release: func() {
		nc.SetErrorHandler(handler)
		inUse.Delete(nc)
	}}, nil
}

// downErr returns why the caller's connection is down; nil if it is not. It wraps [nats.ErrDisconnected].
func downErr(nc *nats.Conn) error {
	if nc.IsConnected() {
		return nil
	}
	servers := nc.Servers()
	for i, server := range servers {
		servers[i] = redact.Text(server)
	}
	err := fmt.Errorf("%w: NATS at %s", nats.ErrDisconnected, strings.Join(servers, ", "))
	if nc.IsClosed() {
		return fmt.Errorf("%w: NATSConn is closed for good; open a new subscriber", err)
	}
	if last := nc.LastError(); last != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return err
}
