package resp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"github.com/prometheus/client_golang/prometheus"
)

// Config configures a [Port].
type Config struct {
	// Listen is the address: host:port, or :port or port alone for loopback.
	Listen string
	// Password that clients must send with AUTH; without one every client may read.
	Password string
	// Connections is how many clients may be connected.
	Connections int
	// Idle is how long a client may send nothing before it is disconnected; 0 means no bound.
	Idle time.Duration
	// Keys is the largest number of keys in one command, Bytes the largest sum of their values.
	Keys, Bytes int
	// Output is how many bytes the port keeps of a client: replies and pushes that it does not read, and an incomplete command. It is more than
	// Bytes. For all clients together the bound is 8 times as much.
	Output int
	// WaitMax is how long a command may wait for a version.
	WaitMax time.Duration
}

// Deps are what a port uses.
type Deps struct {
	Datasets map[string]Dataset
	Tracker  Tracker // nil: CLIENT TRACKING is refused
	// AtLeast waits until a lookup in the dataset reads at least the version of the token, at most wait or until ctx ends; not at all if wait is 0.
	// The text of its error is that of the reply, and begins with a code, which is [NotYet] if a longer wait may help.
	AtLeast  func(ctx context.Context, dataset, token string, wait time.Duration) error
	Log      *slog.Logger
	Registry prometheus.Registerer
	// Build is the version of freshet, for INFO.
	Build string
}

// outputsOfAll is how many times Config.Output all clients together may have waiting.
const outputsOfAll = 8

// Times after which a connection is cut: a client that reads nothing of replies that wait for it, one that has sent a part of a command, and
// one that has not sent the password.
const (
	stallAfter = 30 // seconds
	halfAfter  = 30
	authAfter  = 30
)

// Port serves datasets in Redis' protocol.
type Port struct {
	cfg       Config
	log       *slog.Logger
	datasets  map[string]*served
	sorted    []*served // by name
	names     string    // of the datasets, for errors
	tracker   Tracker
	atLeast   func(ctx context.Context, dataset, token string, wait time.Duration) error
	limits    limits
	protected bool // with a password
	password  [sha256.Size]byte
	build     string
	metrics   *counters
	started   time.Time
	run       func(ctx context.Context, p *Port, conns <-chan *net.TCPConn) error // the transport

	clock   atomic.Int64 // seconds since started
	waiting atomic.Int64 // the sum of all conn.unsent and the lengths of all conn.pushed
	lastID  atomic.Int64
	number  atomic.Int64 // of the TCP port
	blocked atomic.Int64 // commands that wait for versions
	waits   sync.WaitGroup

	mu    sync.Mutex
	conns map[int64]*conn // guarded by mu: by id
}

// New returns a port. [Port.Listen] binds its address.
func New(cfg Config, deps Deps) *Port {
	p := &Port{
		cfg: cfg, log: deps.Log, tracker: deps.Tracker, atLeast: deps.AtLeast, build: deps.Build, datasets: make(map[string]*served), conns: make(map[int64]*conn),
		protected: cfg.Password != "", password: sha256.Sum256([]byte(cfg.Password)), started: time.Now(), run: transport,
	}
	var names []string
	for name, d := range deps.Datasets {
		s := &served{Dataset: d, name: name}
		p.datasets[name] = s
		p.sorted = append(p.sorted, s)
		names = append(names, name)
	}
	slices.Sort(names)
	slices.SortFunc(p.sorted, func(a, b *served) int { return cmp.Compare(a.name, b.name) })
	for i, s := range p.sorted {
		s.number = i
	}
	p.names = listed(names)
	// A command has the longest keys, the lengths of each argument, and room for other arguments.
	longest := dataset.MaxKeyBytes + 65 + len("$0000\r\n\r\n")
	p.limits = limits{args: cfg.Keys + 16, bytes: strangerBytes + cfg.Keys*longest}
	p.metrics = newCounters(p, deps.Registry)
	return p
}

// Address returns the address to bind for the value of FRESHET_RESP_LISTEN. A port alone, with a colon or without, is one of loopback.
func Address(listen string) (string, error) {
	if !strings.Contains(listen, ":") {
		listen = ":" + listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return "", fmt.Errorf("want a port, such as 6380, which listens on loopback, or host:port, such as 0.0.0.0:6380: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// ReadPassword returns the password in a file, without the line end.
func ReadPassword(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	b = bytes.TrimRight(b, "\r\n")
	switch {
	case len(b) == 0:
		return "", fmt.Errorf("%s has no password: want it in the first line", file)
	case bytes.ContainsAny(b, "\r\n"):
		return "", fmt.Errorf("%s has several lines: want the password alone", file)
	case len(b) > longestPassword:
		return "", fmt.Errorf("the password in %s has %d bytes: want at most %d", file, len(b), longestPassword)
	}
	return string(b), nil
}

// longestPassword fits into the command of a client that has not sent it yet.
const longestPassword = 4 << 10

// Listen binds the address.
func (p *Port) Listen(ctx context.Context) (net.Listener, error) {
	address, err := Address(p.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("FRESHET_RESP_LISTEN is %q: %w", p.cfg.Listen, err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for Redis' protocol: set FRESHET_RESP_LISTEN to a free port: %w", address, err)
	}
	return ln, nil
}

// Serve serves the connections of ln, which it closes, until ctx ends. Call it once.
func (p *Port) Serve(ctx context.Context, ln net.Listener) error {
	addr := ln.Addr().(*net.TCPAddr)
	p.number.Store(int64(addr.Port))
	p.log.InfoContext(ctx, "listening for Redis' protocol", "address", addr.String(), "password", p.protected, "connections", p.cfg.Connections)
	if !p.protected && !addr.IP.IsLoopback() {
		p.log.WarnContext(ctx, "everyone who reaches this port may read all datasets: set FRESHET_RESP_PASSWORD_FILE, or listen on loopback", "address", addr.String())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	conns, served := make(chan *net.TCPConn), make(chan error, 1)
	go func() {
		defer cancel() // accept ends with the transport
		served <- p.run(ctx, p, conns)
	}()
	err := p.accept(ctx, ln, conns)
	cancel()
	err = errors.Join(err, <-served)
	p.waits.Wait() // their connections are closed
	p.log.InfoContext(ctx, "stopped listening for Redis' protocol", "address", addr.String())
	return err
}

// accept passes accepted connections to the transport.
func (p *Port) accept(ctx context.Context, ln net.Listener, conns chan<- *net.TCPConn) error {
	defer ln.Close() //nolint:errcheck // closed before, if ctx has ended
	for {
		accepted, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = accepted.Close()
			}
			return nil
		case err != nil:
			if err := p.acceptFailed(ctx, err); err != nil {
				return err
			}
			continue
		}
		tcp := accepted.(*net.TCPConn)
		if p.count() >= p.cfg.Connections {
			p.metrics.refused.Add(1)
			_ = tcp.SetWriteDeadline(time.Now().Add(time.Second)) // the buffer of a new connection takes the text
			_, _ = tcp.Write([]byte("-ERR max number of clients reached\r\n"))
			_ = tcp.Close()
			continue
		}
		select {
		case conns <- tcp:
		case <-ctx.Done():
			_ = tcp.Close()
		}
	}
}

// acceptFailed waits after a failure that may pass, such as too many open files.
func (p *Port) acceptFailed(ctx context.Context, err error) error {
	if errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("accept clients of Redis' protocol: %w", err)
	}
	p.log.WarnContext(ctx, "cannot accept a client of Redis' protocol", "error", err)
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
	return nil
}

// attach makes c a connection of the port.
func (p *Port) attach(c *conn, remote, local net.Addr) {
	c.id, c.limit, c.port, c.authed = p.lastID.Add(1), p.cfg.Output, p, !p.protected
	c.remote, c.local = remote.String(), local.String()
	c.created = p.clock.Load()
	c.began = c.created
	c.last.Store(c.created)
	c.proto.Store(2)
	p.metrics.accepted.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c.id] = c
}

// detach forgets c.
func (p *Port) detach(c *conn) {
	p.mu.Lock()
	delete(p.conns, c.id)
	p.mu.Unlock()
	p.keep(c, 0)
	if c.end() {
		p.metrics.cut[cutPushes].Add(1)
	}
}

func (p *Port) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// keep records that the transport keeps n bytes for the client. It returns false if they are too many for it, or for all clients together.
func (p *Port) keep(c *conn, n int) bool {
	if n == 0 && c.unsent.Load() == 0 {
		return true
	}
	all := p.waiting.Add(int64(n) - c.unsent.Swap(int64(n)))
	return n == 0 || n <= p.cfg.Output && all <= outputsOfAll*int64(p.cfg.Output)
}

// admit counts n bytes that are pushed to a client. It returns false, and counts nothing, if too many wait for all clients together.
func (p *Port) admit(n int) bool {
	if p == nil {
		return true
	}
	if p.waiting.Add(int64(n)) > outputsOfAll*int64(p.cfg.Output) {
		p.waiting.Add(-int64(n))
		return false
	}
	return true
}

// release ends the counting of n bytes of admit.
func (p *Port) release(n int) {
	if p != nil {
		p.waiting.Add(-int64(n))
	}
}

// panicked counts a panic of a command.
func (p *Port) panicked(reason any) {
	p.metrics.panics.Add(1)
	p.log.Error("a command of Redis' protocol failed; its client is disconnected", "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

// port returns the port's number.
func (p *Port) port() int { return int(p.number.Load()) }

// expired returns why the connection is to be cut now; ok is false if it is not. since is the second since which replies have waited for the
// client to read, 0 if none do; half is true if a part of a command has arrived.
func (p *Port) expired(c *conn, since int64, half bool) (why cut, ok bool) {
	now := p.clock.Load()
	quiet := now - c.last.Load()
	switch {
	case since > 0 && now-since > stallAfter:
		return cutStalled, true
	case since == 0 && half && quiet > halfAfter:
		return cutHalf, true
	case !c.authed && now-c.began > authAfter:
		return cutStranger, true
	case p.cfg.Idle > 0 && since == 0 && quiet > int64(p.cfg.Idle/time.Second):
		return cutIdle, true
	}
	return 0, false
}
