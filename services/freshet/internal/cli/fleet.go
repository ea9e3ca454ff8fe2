package cli

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/services/freshet/internal/exit"
	"freshet.dev/services/internal/settings"
)

// natsSchemes are the schemes of NATS URLs.
var natsSchemes = []string{"nats", "tls", "ws", "wss"}

// redisSchemes are the schemes of Redis URLs.
var redisSchemes = []string{"redis", "rediss", "unix"}

// natsTimeout is how long NATS may take to answer a dial.
const natsTimeout = 5 * time.Second

// dialFleet connects to NATS, over which instances answer. A command does not wait for a server that is down, as a service does:
// its user needs the error. The caller closes the connection.
func dialFleet(ctx context.Context, address string) (*nats.Conn, error) {
	shown := settings.URL(address) // prints without credentials
	if err := settings.CheckURL("--nats", shown, natsSchemes...); err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	conn, err := nats.Connect(address, nats.Name("freshet"), nats.Timeout(natsTimeout), nats.MaxReconnects(-1),
		nats.SetCustomDialer(dialer{ctx}), nats.SkipHostLookup()) // the dialer resolves the host, within ctx
	if ctx.Err() != nil {
		if err == nil {
			conn.Close()
		}
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reach NATS at %s: %w; %s", shown, err, natsURL.hint())
	}
	return conn, nil
}

// dialer opens connections that end with ctx, because nats.Connect takes no context. Ctrl-C then ends a command even if the server
// does not answer.
type dialer struct{ ctx context.Context }

// Dial implements [nats.CustomDialer].
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: natsTimeout}).DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(d.ctx, func() { _ = conn.Close() }) // fails only if it is closed already
	return conn, nil
}
