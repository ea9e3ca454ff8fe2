// Package brokers runs the two servers that freshet needs, NATS with JetStream on disk and Redis, inside this
// process: for `freshet up` and `freshet demo`, where nothing else is to be installed.
//
// The Redis here keeps its data in memory. That loses nothing: the catalog is an index of what the store holds.
package brokers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// ErrPortBusy is wrapped by the error of a server whose port another process listens on.
var ErrPortBusy = errors.New("the port is taken")

// NATSConfig says how to run the embedded NATS server.
type NATSConfig struct {
	// Host is the address to listen on, Port the port; 0 takes a free one.
	Host string
	Port int
	// Dir is the folder for JetStream's files. It is made if it is missing.
	Dir string
	// Log takes the server's warnings and errors; nil drops them.
	Log *slog.Logger
}

// NATS is a NATS server with JetStream in this process.
type NATS struct {
	server *natsserver.Server
	close  sync.Once
}

// OpenNATS starts a NATS server and returns when it takes connections. It wraps [ErrPortBusy] if the port is taken.
func OpenNATS(ctx context.Context, cfg NATSConfig) (*NATS, error) {
	// Asked for first, because the server itself reports a busy port only as a line of text.
	if err := checkFree(cfg.Host, cfg.Port); err != nil {
		return nil, fmt.Errorf("start the NATS server: %w", err)
	}
	port := cfg.Port
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	server, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "freshet",
		Host:       cfg.Host,
		Port:       port,
		JetStream:  true,
		StoreDir:   cfg.Dir,
		NoSigs:     true, // only main handles signals
	})
	if err != nil {
		return nil, fmt.Errorf("start the NATS server in %s: %w", cfg.Dir, err)
	}
	log := &natsLog{log: cfg.Log, fatal: make(chan string, 1)}
	server.SetLogger(log, false, false)
	n := &NATS{server: server}
	server.Start()

	for !server.ReadyForConnections(20 * time.Millisecond) {
		select {
		case problem := <-log.fatal:
			n.Close()
			return nil, fmt.Errorf("start the NATS server in %s: %s", cfg.Dir, problem)
		case <-ctx.Done():
			n.Close()
			return nil, fmt.Errorf("start the NATS server: %w", ctx.Err())
		default:
		}
	}
	if !server.JetStreamEnabled() {
		n.Close()
		return nil, fmt.Errorf("start the NATS server: JetStream does not run in %s", cfg.Dir)
	}
	return n, nil
}

// URL returns the address to connect to.
func (n *NATS) URL() string { return n.server.ClientURL() }

// goodbyeTimeout is how long Close waits for clients, which should have been closed before it is called, and for what
// they asked for.
const goodbyeTimeout = time.Second

// Close stops the server and returns when it has stopped.
func (n *NATS) Close() {
	n.close.Do(func() {
		// The server works a request off even if its client has gone. Shut down while it creates a stream, nats-server
		// 2.15 forgets the new stream, whose goroutine then writes to Dir for ever.
		for gone := time.Now().Add(goodbyeTimeout); !n.idle() && time.Now().Before(gone); {
			time.Sleep(time.Millisecond)
		}
		n.server.Shutdown()
		n.server.WaitForShutdown()
	})
}

// idle reports whether there is neither a client nor a request to JetStream that has not been worked off. A client's
// requests are counted before it is gone.
func (n *NATS) idle() bool {
	if n.server.NumClients() > 0 {
		return false
	}
	info, err := n.server.Jsz(nil)
	return err != nil || info.API.Inflight == 0
}

// checkFree returns ErrPortBusy if something listens on the port; port 0 is always free.
func checkFree(host string, port int) error {
	if port == 0 {
		return nil
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return listenError(err)
	}
	return listener.Close()
}

func listenError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: %w", ErrPortBusy, err)
	}
	return err
}

// natsLog passes on what matters of the server's log. It keeps the first fatal message, after which the server
// without a logger would end the process and with one just goes on half started.
type natsLog struct {
	log   *slog.Logger
	fatal chan string
}

func (l *natsLog) Noticef(string, ...any) {}
func (l *natsLog) Debugf(string, ...any)  {}
func (l *natsLog) Tracef(string, ...any)  {}

func (l *natsLog) Warnf(format string, args ...any) {
	if l.log != nil {
		l.log.Warn(fmt.Sprintf(format, args...), "part", "nats")
	}
}

func (l *natsLog) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log.Error(fmt.Sprintf(format, args...), "part", "nats")
	}
}

func (l *natsLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default:
	}
}
