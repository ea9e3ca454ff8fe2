package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// ServerConfig configures a [Server].
type ServerConfig struct {
	// Listen is the address to bind, host:port; port 0 selects a free port.
	Listen string
	// Grace is how long requests in flight may take to finish when the server stops. Zero: [DefaultGrace].
	Grace time.Duration
	// WriteTimeout is how long a response may take from the end of the request's header. A handler that needs longer extends the
	// deadline as it makes progress. Zero: one minute.
	WriteTimeout time.Duration
	// Control, if not nil, is called for the listening socket, as by [net.ListenConfig].
	Control func(network, address string, c syscall.RawConn) error
	// Wrap, if not nil, returns the connection to serve for an accepted connection. The result must have the methods of the
	// argument.
	Wrap func(*net.TCPConn) net.Conn
	// Connections, if not 0, limits the open connections. At the limit, a new connection evicts the connection that has waited
	// longest for a request or the rest of its header. If requests are in flight on all connections, the new one gets 503.
	Connections int
	// ConnContext is as in [http.Server]; it may be nil.
	ConnContext func(context.Context, net.Conn) context.Context
	// MaxHeaderBytes limits the header of a request. Zero: 64 KiB.
	MaxHeaderBytes int
	Log            *slog.Logger
}

// DefaultGrace fits into the 30 s that Kubernetes waits for a container to stop.
const DefaultGrace = 20 * time.Second

// headerTimeout is how long a client may take to send a header, idleTimeout how long a connection may be idle. maxHeaderBytes
// allows a key of 1 KiB with every byte percent-encoded, and the headers of proxies.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// stopWait is how long a handler may take to return after its connection was closed and its context cancelled.
const stopWait = 5 * time.Second

// Server serves one handler on one address.
type Server struct {
	cfg     ServerConfig
	handler http.Handler
	ready   chan struct{}
	addr    string // set before ready is closed

	bounded atomic.Pointer[bounded] // nil before Run, and without a bound

	active atomic.Int64  // running handlers
	idle   chan struct{} // of size 1: receives a value when active drops to 0
}

// NewServer returns a server. [Server.Run] binds the address.
func NewServer(cfg ServerConfig, h http.Handler) *Server {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = time.Minute
	}
	if cfg.MaxHeaderBytes == 0 {
		cfg.MaxHeaderBytes = maxHeaderBytes
	}
	return &Server{cfg: cfg, handler: h, ready: make(chan struct{}), idle: make(chan struct{}, 1)}
}

// Ready returns a channel that is closed when the server listens. It stays open if Run fails to listen.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns the bound address, or "" before Ready is closed.
func (s *Server) Addr() string {
	select {
	case <-s.ready:
		return s.addr
	default:
		return ""
	}
}

// Connections returns the counts of connections. They are zero before Run, and without a limit.
func (s *Server) Connections() Connections {
	if b := s.bounded.Load(); b != nil {
		return b.counts()
	}
	return Connections{}
}

// Run listens and serves until ctx ends. It then accepts no new requests, and waits at most Grace for the requests in flight. It
// closes the connections of the rest, whose handlers have stopWait to return. Run returns nil when ctx ended. It may be called
// once.
func (s *Server) Run(ctx context.Context) error {
	ln, err := listen(ctx, s.cfg)
	if err != nil {
		return err
	}
	if s.cfg.Wrap != nil {
		ln = wrapper{Listener: ln, wrap: s.cfg.Wrap}
	}
	var changed func(net.Conn, http.ConnState)
	if s.cfg.Connections > 0 {
		b := bound(ln, s.cfg.Connections)
		defer b.all.Wait()
		s.bounded.Store(b)
		ln, changed = b, b.changed
	}
	// The context of requests outlives ctx by the grace period.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return withStop(requests, ctx) },
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ConnState:         changed,
		ConnContext:       s.cfg.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	s.addr = ln.Addr().String()
	close(s.ready)
	s.cfg.Log.InfoContext(ctx, "listening", "address", s.addr)

	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", s.addr, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(requests, s.cfg.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		s.cfg.Log.WarnContext(ctx, "requests did not finish within the grace period and were aborted", "grace", s.cfg.Grace.String())
		_ = srv.Close() // before cut: a handler whose context ends must not complete its response
		cut()
	}
	s.waitIdle()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", s.addr, err)
	}
	s.cfg.Log.InfoContext(ctx, "stopped listening", "address", s.addr)
	return nil
}

// wrapper is a listener that calls wrap for each connection.
type wrapper struct {
	net.Listener
	wrap func(*net.TCPConn) net.Conn
}

func (l wrapper) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		return l.wrap(tcp), nil
	}
	return conn, err
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.active.Add(1)
	defer func() {
		if s.active.Add(-1) == 0 {
			select {
			case s.idle <- struct{}{}:
			default:
			}
		}
	}()
	s.handler.ServeHTTP(w, r)
}

// waitIdle waits until no handler runs, because the caller of Run closes what handlers use. http.Server.Close does not wait for
// handlers, and Shutdown does not wait for handlers whose connection the drainer has hijacked.
func (s *Server) waitIdle() {
	timeout := time.NewTimer(stopWait)
	defer timeout.Stop()
	for s.active.Load() > 0 {
		select {
		case <-s.idle:
		case <-timeout.C:
			s.cfg.Log.Warn("a handler still runs although its connection is closed")
			return
		}
	}
}

func listen(ctx context.Context, cfg ServerConfig) (net.Listener, error) {
	address := cfg.Listen
	ln, err := (&net.ListenConfig{Control: cfg.Control}).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program listens on this port; stop it or set FRESHET_LISTEN to another address (port 0 selects a free port): %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: this user may not bind the port; set FRESHET_LISTEN to a port above 1023: %w", address, err)
	default:
		return nil, fmt.Errorf("listen on %s: set FRESHET_LISTEN to host:port: %w", address, err)
	}
}
