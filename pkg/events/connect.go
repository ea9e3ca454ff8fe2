package events

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
	// A connection that died without a word is noticed after two missed pings.
	pingInterval    = 10 * time.Second
	maxMissedPings  = 2
	firstReconnect  = 50 * time.Millisecond
	longestInterval = 4 * time.Second
)

// Connect returns a connection to the NATS servers at url (several are separated by commas), known to the server by
// name. It fails for a malformed url or option only: a server that is down is tried again and again, now and
// whenever the connection breaks, without an end and whatever the server answers. The state of the connection goes to
// log. opts go before these settings. The caller closes the connection.
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	link, err := Dial(url, name, log, opts...)
	if err != nil {
		return nil, err
	}
	return link.Conn, nil
}

// Link is a connection that says why it is down.
type Link struct {
	*nats.Conn
	servers string // without credentials
	last    atomic.Pointer[error]
}

// Err returns an error that names the servers, without credentials, and says why there is no connection to one of them. It wraps
// [nats.ErrDisconnected]. It returns nil while there is a connection.
func (l *Link) Err() error {
	if l.IsConnected() {
		return nil
	}
	err := fmt.Errorf("%w: NATS at %s", nats.ErrDisconnected, l.servers)
	last := l.last.Load()
	if last == nil || errors.Is(*last, nats.ErrDisconnected) {
		return err
	}
	if errors.Is(*last, nats.ErrAuthorization) || errors.Is(*last, nats.ErrAuthExpired) {
		return fmt.Errorf("%w: %w; check the user and password, or the token, in the URL of NATS", err, *last)
	}
	return fmt.Errorf("%w: %w; check host and port in the URL of NATS, and that the server runs", err, *last)
}

// failed records why the connection is down. That no server of the list could be reached is no reason: the attempts have theirs.
func (l *Link) failed(err error) {
	if err != nil && !errors.Is(err, nats.ErrNoServers) {
		l.last.Store(&err)
	}
}

// Dial is Connect for a caller that asks why the connection is down.
func Dial(url, name string, log *slog.Logger, opts ...nats.Option) (*Link, error) {
	if err := CheckURL(url); err != nil { // the client's own error quotes the text, which may hold a credential
		return nil, fmt.Errorf("connect to NATS: the list of servers %w", err)
	}
	link := &Link{servers: shownURL(url)}
	all := []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxMissedPings),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), // the default gives up after 60 attempts
		// By default the same authentication error twice closes the connection for good, and the instance stays stale
		// after the server's accounts are mended.
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

// reconnectDelay doubles with each round of attempts. The jitter keeps a fleet from coming back in one moment.
func reconnectDelay(attempts int) time.Duration {
	d := min(longestInterval, firstReconnect<<min(attempts-1, 10))
	return d/2 + rand.N(d)
}

// logState returns the handlers that log what becomes of the connection. Of the failed attempts of one outage only
// the first is worth a warning.
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
			if err != nil { // nil: closed by us
				l.failed(err)
				log.Warn("lost the connection to NATS, trying to reconnect", "error", err, "url", l.servers)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			l.failed(err)
			level := slog.LevelDebug
			if warned.CompareAndSwap(false, true) {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, "cannot connect to NATS, trying on", "error", err, "url", l.servers)
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
