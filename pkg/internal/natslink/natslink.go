// Package natslink connects to NATS servers, and reports why a connection is down.
package natslink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/redact"
	"github.com/nats-io/nats.go"
)

const (
	dialTimeout = 2 * time.Second
	// A dead connection is detected after two missed pings.
	pingInterval    = 10 * time.Second
	maxMissedPings  = 2
	firstReconnect  = 50 * time.Millisecond
	longestInterval = 4 * time.Second
)

// Link is a connection that also reports why it is down.
type Link struct {
	*nats.Conn
	servers string // without credentials
	last    atomic.Pointer[error]
}

// Err returns nil while there is a connection. Otherwise it returns an error that wraps [nats.ErrDisconnected], and has the
// servers, without credentials, and the cause.
func (l *Link) Err() error {
	if l.IsConnected() {
		return nil
	}
	err := fmt.Errorf("%w: NATS at %s", nats.ErrDisconnected, l.servers)
	last := l.last.Load()
	if last == nil { // the client reports no cause for its first attempt
		return fmt.Errorf("%w: no connection yet; check host, port and credentials in the URL of NATS, and that the server runs", err)
	}
	if errors.Is(*last, nats.ErrDisconnected) {
		return err
	}
	if errors.Is(*last, nats.ErrAuthorization) || errors.Is(*last, nats.ErrAuthExpired) {
		return fmt.Errorf("%w: %w; check the user and password, or the token, in the URL of NATS", err, *last)
	}
	return fmt.Errorf("%w: %w; check host and port in the URL of NATS, and that the server runs", err, *last)
}

// failed records why the connection is down. It ignores ErrNoServers, because the attempts have reported the causes.
func (l *Link) failed(err error) {
	if err != nil && !errors.Is(err, nats.ErrNoServers) {
		l.last.Store(&err)
	}
}

// Dial returns a connection to the NATS servers at url, separated by commas. name identifies the connection on the server.
// Dial fails only for a malformed url or option: it retries forever while no server accepts the connection, at first and
// whenever the connection breaks, regardless of the server's error. It logs the state of the connection to log. opts override
// these settings. The caller closes the connection.
func Dial(url, name string, log *slog.Logger, opts ...nats.Option) (*Link, error) {
	if err := CheckURL(url); err != nil { // the client's own error quotes the URL, which may contain a credential
		return nil, fmt.Errorf("connect to NATS: the list of servers %w", err)
	}
	link := &Link{servers: shownURL(url)}
	all := []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxMissedPings),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), // the default is 60 attempts
		// By default, the same authentication error twice closes the connection permanently. The instance would remain stale
		// after an operator has corrected the server's accounts.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(reconnectDelay),
	}
	nc, err := nats.Connect(url, append(append(all, link.logState(log)...), opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	link.Conn = nc
	return link, nil
}

// reconnectDelay doubles with each round of attempts. The jitter keeps a fleet from reconnecting at the same moment.
func reconnectDelay(attempts int) time.Duration {
	d := min(longestInterval, firstReconnect<<min(attempts-1, 10))
	return d/2 + rand.N(d)
}

// logState returns the handlers that log the state of the connection. Only the first failed attempt of an outage is a
// warning.
func (l *Link) logState(log *slog.Logger) []nats.Option {
	var warned atomic.Bool
	connected := func(nc *nats.Conn) {
		warned.Store(false)
		log.Info("connected to NATS", "url", redact.Text(nc.ConnectedUrl()))
	}
	return []nats.Option{
		nats.ConnectHandler(connected),
		nats.ReconnectHandler(connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil if this process closed the connection
				l.failed(err)
				log.Warn("lost the connection to NATS, reconnecting", "error", err, "url", l.servers)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			l.failed(err)
			level := slog.LevelDebug
			if warned.CompareAndSwap(false, true) {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, "cannot connect to NATS, retrying", "error", err, "url", l.servers)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if sub == nil && errors.Is(err, nats.ErrAuthorization) {
				l.failed(err)
			}
			log.Warn("NATS reports an error", "error", err, "subject", subject, "url", l.servers)
		}),
	}
}
