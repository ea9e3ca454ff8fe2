package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/services/relay/internal/wire"
	"golang.org/x/sys/unix"
)

// option returns what get returns of the socket.
func option[T any](t *testing.T, socket syscall.Conn, get func(fd int) (T, error)) (value T) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { value, err = get(int(fd)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return value
}

func congestion(fd int) (string, error) {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return strings.TrimRight(name, "\x00"), err
}

func sendBuffer(fd int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
}

// A connection has the operator's congestion control, which is the system's unless the settings name one.
func TestCongestionControl(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	system := strings.TrimSpace(string(text))
	for _, name := range []string{"", "reno"} { // every kernel has Reno, and lets all use it
		s := wire.New(wire.Config{Stall: time.Minute, Congestion: name})
		l, err := (&net.ListenConfig{Control: s.Control}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		want := name
		if want == "" {
			want = system
		}
		if got := option(t, conn.(*net.TCPConn), congestion); got != want {
			t.Errorf("%q: a connection has %s, want %s", name, got, want)
		}
	}
	if err := wire.CheckCongestion("reno"); err != nil {
		t.Error(err)
	}
	if err := wire.CheckCongestion("none-such"); err == nil || !strings.Contains(err.Error(), "reno") {
		t.Errorf("error is %v, which does not say that reno is allowed", err)
	}
}

// The kernel holds no more for a client than the settings say, also for one that takes nothing.
func TestSendBuffer(t *testing.T) {
	const sendBytes = 512 << 10
	src := &source{rest: content(64 << 20), parts: 256 << 10}
	addr, first := serveOver(t, wire.Config{Stall: time.Minute, SendBytes: sendBytes}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(src.rest)))
		_, _ = io.Copy(w, src)
	})
	request(t, addr)
	conn := <-first
	if full := option(t, conn, sendBuffer); full > sendBytes || full < sendBytes/2 {
		t.Errorf("a send buffer takes %d bytes, want at most %d", full, sendBytes)
	}
	src.awaitIdle(t)
	if held := option(t, conn, unacknowledged); held == 0 || held > sendBytes {
		t.Errorf("the kernel holds %d bytes for a client that takes nothing, want at most %d", held, sendBytes)
	}
}

// unacknowledged returns how many bytes the kernel holds that the client has not taken.
func unacknowledged(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCOUTQ) }

// requestInSmallParts sends a request on a connection for which the client's system takes next to nothing.
func requestInSmallParts(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2<<10) })
	}}).Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A send whose bytes all fit into the send buffer ends when the client has taken them, and when the client leaves. It fails when
// the client takes none, also if the client sends its next request.
func TestASendEndsWithTheClient(t *testing.T) {
	want := content(100_000)
	for name, c := range map[string]struct {
		stall time.Duration
		act   func(t *testing.T, conn net.Conn)
		err   error
	}{
		"takes all": {time.Minute, func(t *testing.T, conn net.Conn) {
			if n, err := io.CopyN(io.Discard, conn, int64(len(want))); err != nil {
				t.Errorf("%d bytes came, %v", n, err)
			}
		}, nil},
		"takes none": {time.Second, func(*testing.T, net.Conn) {}, os.ErrDeadlineExceeded},
		"sends more": {time.Second, func(t *testing.T, conn net.Conn) {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Error(err)
			}
		}, os.ErrDeadlineExceeded},
		"leaves": {time.Minute, func(_ *testing.T, conn net.Conn) { conn.Close() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 2)
			addr, _ := serveOver(t, wire.Config{Stall: c.stall, SendBytes: 512 << 10}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "x/y")
				w.Header().Set("Content-Length", fmt.Sprint(len(want)))
				_, err := io.Copy(w, &source{rest: want, parts: 256 << 10})
				ended <- err
			})
			conn := requestInSmallParts(t, addr)
			select {
			case err := <-ended:
				t.Fatalf("the send ended before the client took the bytes, %v", err)
			case <-time.After(200 * time.Millisecond):
			}
			c.act(t, conn)
			select {
			case err := <-ended:
				if !errors.Is(err, c.err) {
					t.Errorf("the send ended with %v, want %v", err, c.err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the send does not end")
			}
		})
	}
}

// An answer that is not a Source fails at the write deadline, and after a few seconds whatever the stall, if the client takes nothing.
func TestAWriteEndsSoon(t *testing.T) {
	for name, c := range map[string]struct {
		deadline, least, most time.Duration
	}{
		"without a deadline":    {0, 4 * time.Second, 30 * time.Second},
		"with a deadline":       {300 * time.Millisecond, 300 * time.Millisecond, 4 * time.Second},
		"with a later deadline": {time.Hour, 4 * time.Second, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended, took := make(chan error, 2), time.Duration(0)
			addr, _ := serveOver(t, wire.Config{Stall: time.Minute, SendBytes: 512 << 10}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100000")
				start, deadline := time.Now(), time.Time{}
				if c.deadline > 0 {
					deadline = start.Add(c.deadline)
				}
				if err := http.NewResponseController(w).SetWriteDeadline(deadline); err != nil {
					t.Error(err)
				}
				_, err := w.Write(content(100_000))
				took = time.Since(start)
				ended <- err
			})
			requestInSmallParts(t, addr)
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || took < c.least || took > c.most {
				t.Errorf("the answer ended after %v with %v", took, err)
			}
		})
	}
}
