// Package brokers runs NATS, with JetStream on disk, and Redis in this process. `freshet up` and `freshet demo` use it, so that they
// need no installed servers.
//
// This Redis keeps its data in memory. A restart loses nothing, because the catalog is an index of the store.
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

// ErrPortBusy is wrapped by the error for a port on which another process listens.
var ErrPortBusy = errors.New("the port is in use")

// NATSConfig configures the embedded NATS server.
type NATSConfig struct {
	// Host is the address to listen on, Port the port; 0 selects a free port.
	Host string
	Port int
	// Dir is the folder for JetStream's files. It is created if it does not exist.
	Dir string
	// Log receives the server's warnings and errors; nil discards them.
	Log *slog.Logger
}

// NATS is a NATS server with JetStream in this process.
type NATS struct {
	server *natsserver.Server
	close  sync.Once
}

// OpenNATS starts a NATS server and returns when the server accepts connections. The error wraps [ErrPortBusy] if the port is in use.
func OpenNATS(ctx context.Context, cfg NATSConfig) (*NATS, error) {
	// Checked here because the server reports a busy port only as a line of its log.
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

// goodbyeTimeout is how long Close waits for clients to disconnect and for their requests to finish. The caller should have closed
// the clients before.
const goodbyeTimeout = time.Second

// Close stops the server and returns when it has stopped.
func (n *NATS) Close() {
	n.close.Do(func() {
		// The server processes a request even if its client has disconnected. If nats-server 2.15 shuts down while it creates a
		// stream, it forgets the stream, whose goroutine then writes to Dir forever.
		for deadline := time.Now().Add(goodbyeTimeout); !n.idle() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		n.server.Shutdown()
		n.server.WaitForShutdown()
	})
}

// idle reports whether the server has no client and no JetStream request in flight. The server counts a client's requests before it
// counts the client as disconnected.
func (n *NATS) idle() bool {
	if n.server.NumClients() > 0 {
		return false
	}
	info, err := n.server.Jsz(nil)
	return err != nil || info.API.Inflight == 0
}

// checkFree returns ErrPortBusy if a process listens on the port. Port 0 is always free.
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

// natsLog forwards the warnings and errors of the server's log. It keeps the first fatal message. After a fatal message a server
// with a logger continues half started; without a logger it would end the process.
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
