package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// rig is a port that serves on loopback.
type rig struct {
	t    *testing.T
	port *Port
	addr string
}

// onEach runs the test with each transport that this system has.
func onEach(t *testing.T, test func(t *testing.T, start func(p *Port) *rig)) {
	for name, run := range map[string]func(context.Context, *Port, <-chan *net.TCPConn) error{"system": transport, "streams": runStreams} {
		t.Run(name, func(t *testing.T) {
			test(t, func(p *Port) *rig { return serveOn(t, p, run) })
		})
	}
}

// serveOn serves the port with a transport until the test ends.
func serveOn(t *testing.T, p *Port, run func(context.Context, *Port, <-chan *net.TCPConn) error) *rig {
	p.run = run
	ln, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a stop is an error: %v", err)
		}
		if n := p.count(); n != 0 || p.waiting.Load() != 0 {
			t.Errorf("%d connections and %d bytes are left", n, p.waiting.Load())
		}
	})
	return &rig{t, p, ln.Addr().String()}
}

// client is a connection of a test. Reads and writes fail after a minute.
type client struct {
	t *testing.T
	*net.TCPConn
	r *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &client{r.t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// want fails the test unless the next bytes from the server are text.
func (c *client) want(text string) {
	c.t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(c.r, b); err != nil || string(b) != text {
		c.t.Fatalf("got %.200q, %v; want %.200q", b[:n], err, text)
	}
}

// wantEnd fails the test unless the server closes the connection, after the text.
func (c *client) wantEnd(text string) {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() || string(b) != text {
		c.t.Fatalf("got %.200q, %v; want the end after %q", b, err, text)
	}
}

// until waits until ok.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestPipelines(t *testing.T) {
	big := strings.Repeat("b", 300<<10)
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(testConfig(), map[string]*fake{"d": new(fake).serve(t, 1, map[string]string{"a": "1", "big": big})}))
		c := r.dial()
		c.send(strings.Repeat(encode("GET", "d:a"), 5000) + "PING\r\n")
		c.want(strings.Repeat("$1\r\n1\r\n", 5000) + "+PONG\r\n")
		// More replies than buffers hold, to a client that reads only when it has sent everything.
		all := sync.WaitGroup{}
		all.Go(func() { c.send(strings.Repeat(encode("GET", "d:big"), 200) + encode("GET", "d:x")) })
		for range 200 {
			c.want(fmt.Sprintf("$%d\r\n%s\r\n", len(big), big))
		}
		c.want("$-1\r\n")
		all.Wait()
		// Byte for byte, and several commands in the last byte's packet.
		for _, b := range encode("GET", "d:a") {
			c.send(string(b))
		}
		c.want("$1\r\n1\r\n")
		// The replies reach a client that has ended its side.
		c.send("PING\r\nPING\r\n")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.wantEnd("+PONG\r\n+PONG\r\n")
	})
}

func TestEnds(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(testConfig(), map[string]*fake{"cities": cities(t)}))
		c := r.dial()
		c.send("*1\r\n!")
		c.wantEnd("-ERR Protocol error: expected '$', got \"!\"\r\n")
		c = r.dial()
		c.send(encode("GET", "cities:x") + encode("QUIT") + encode("PING"))
		c.wantEnd("$-1\r\n+OK\r\n")
		c = r.dial()
		c.send("*1\r\n$4\r\nPI")
		_ = c.SetLinger(0) // a reset
		_ = c.Close()
		r.until("the reset connection is forgotten", func() bool { return r.port.count() == 0 })
	})
}

// A client that does not read is not waited for, holds a bounded number of bytes, and is cut when more would wait.
func TestSlowReader(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(testConfig(), map[string]*fake{"d": new(fake).serve(t, 1, map[string]string{"big": strings.Repeat("b", 1<<20)})}))
		slow := r.dial()
		go func() { _, _ = io.WriteString(slow, strings.Repeat(encode("GET", "d:big"), 100000)) }() // until the connection is closed
		r.until("replies wait", func() bool { return r.port.waiting.Load() > 0 })
		other := r.dial()
		for range 100 {
			other.send(encode("GET", "d:x"))
			other.want("$-1\r\n")
		}
		if n := r.port.waiting.Load(); n > int64(r.port.cfg.Output) {
			t.Errorf("%d bytes wait for one client", n)
		}
		// Once it reads it gets everything.
		for range 50 {
			slow.want(fmt.Sprintf("$%d\r\n%s\r\n", 1<<20, strings.Repeat("b", 1<<20)))
		}
		_ = slow.Close()
		r.until("no bytes wait", func() bool { return r.port.waiting.Load() == 0 })
	})
}

// At the limit a connection is refused with Redis' error; and accepted again when another has ended.
func TestConnections(t *testing.T) {
	cfg := testConfig()
	cfg.Connections = 3
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(cfg, nil))
		var open []*client
		for range 3 {
			c := r.dial()
			c.send("PING\r\n")
			c.want("+PONG\r\n")
			open = append(open, c)
		}
		r.dial().wantEnd("-ERR max number of clients reached\r\n")
		_ = open[0].Close()
		r.until("the connection is forgotten", func() bool { return r.port.count() == 2 })
		c := r.dial()
		c.send("PING\r\n")
		c.want("+PONG\r\n")
		if n := r.port.metrics.refused.Load(); n != 1 {
			t.Errorf("%d refusals", n)
		}
	})
}

func TestManyConnections(t *testing.T) {
	const many = 2000
	cfg := testConfig()
	cfg.Connections = many
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(cfg, map[string]*fake{"cities": cities(t)}))
		all := make([]*client, many)
		for i := range all {
			all[i] = r.dial()
		}
		for range 3 {
			for _, c := range all {
				c.send(encode("STRLEN", "cities:KR:2"))
			}
			for _, c := range all {
				c.want(":16\r\n")
			}
		}
	})
}

func TestIdle(t *testing.T) {
	cfg := testConfig()
	cfg.Idle = time.Second
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		r := start(newPort(cfg, nil))
		c := r.dial()
		c.send("PING\r\n")
		c.want("+PONG\r\n")
		c.wantEnd("")
		if n := r.port.metrics.cut[cutIdle].Load(); n != 1 {
			t.Errorf("%d cut because they were idle", n)
		}
	})
}

// The reasons and the times at which connections are cut.
func TestExpired(t *testing.T) {
	cfg := testConfig()
	cfg.Password = "p"
	cfg.Idle = 100 * time.Second
	p := newPort(cfg, nil)
	for _, c := range []struct {
		name   string
		conn   *conn
		since  int64
		half   bool
		before int64 // the last second at which it stays
		why    cut
	}{
		{"stalled", &conn{authed: true}, 5, false, 35, cutStalled},
		{"half", &conn{authed: true}, 0, true, 30, cutHalf},
		{"stranger", &conn{}, 0, false, 30, cutStranger},
		{"idle", &conn{authed: true}, 0, false, 100, cutIdle},
	} {
		p.clock.Store(c.before)
		if why, ok := p.expired(c.conn, c.since, c.half); ok {
			t.Errorf("%s: cut at %d because of %s", c.name, c.before, cutNames[why])
		}
		p.clock.Store(c.before + 1)
		if why, ok := p.expired(c.conn, c.since, c.half); !ok || why != c.why {
			t.Errorf("%s: %v, %s", c.name, ok, cutNames[why])
		}
	}
}

// A command that panics ends its connection alone.
func TestPanic(t *testing.T) {
	onEach(t, func(t *testing.T, start func(*Port) *rig) {
		p := newPort(testConfig(), map[string]*fake{"cities": cities(t)})
		p.tracker = brokenTracker{}
		r := start(p)
		other, c := r.dial(), r.dial()
		c.send(encode("CLIENT", "TRACKING", "ON"))
		c.wantEnd("")
		other.send("PING\r\n")
		other.want("+PONG\r\n")
		if n := p.metrics.panics.Load(); n != 1 {
			t.Errorf("%d panics", n)
		}
	})
}

// A transport that cannot start ends the port with its error.
func TestTransportFails(t *testing.T) {
	p := newPort(testConfig(), nil)
	failed := errors.New("no epoll")
	p.run = func(context.Context, *Port, <-chan *net.TCPConn) error { return failed }
	ln, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Serve(t.Context(), ln); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
}

type brokenTracker struct{}

func (brokenTracker) Register(Client) Session { panic("a defect") }
