package events

import (
	"log/slog"

	"freshet.dev/pkg/internal/natslink"
	"github.com/nats-io/nats.go"
)

// Connect returns a connection to the NATS servers at url, separated by commas. name identifies the connection on the
// server. Connect fails only for a malformed url or option: it retries forever while no server accepts the connection, at
// first and whenever the connection breaks, regardless of the server's error. It logs the state of the connection to log.
// opts override these settings. The caller closes the connection.
func Connect(url, name string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	link, err := natslink.Dial(url, name, log, opts...)
	if err != nil {
		return nil, err
	}
	return link.Conn, nil
}
