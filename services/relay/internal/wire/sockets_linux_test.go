package wire_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
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

// The kernel holds no more for a client than the settings say, and less while the client takes nothing.
func TestSendBuffer(t *testing.T) {
	const sendBytes = 512 << 10
	addr, first := serveOver(t, wire.Config{Stall: time.Minute, SendBytes: sendBytes}, func(w http.ResponseWriter, _ *http.Request) {
		want := content(64 << 20)
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, _ = io.Copy(w, &source{rest: want, parts: 256 << 10})
	})
	client := request(t, addr)
	conn := <-first
	full := option(t, conn, sendBuffer)
	if full > sendBytes || full < sendBytes/2 {
		t.Errorf("a send buffer takes %d bytes, want at most %d", full, sendBytes)
	}
	awaitShrunk(t, conn, sendBytes)
	awaitRead(t, client, 1<<20, func() bool { return option(t, conn, sendBuffer) == full })
}

// The send buffer of a client that takes less than a Quantum a second has its whole size if the client makes progress. A client far
// away takes no more than a small buffer in a round trip.
func TestSendBufferOfASlowClient(t *testing.T) {
	const sendBytes = 256 << 10
	addr, first := serveOver(t, wire.Config{Stall: time.Minute, SendBytes: sendBytes}, func(w http.ResponseWriter, _ *http.Request) {
		want := content(64 << 20)
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, _ = io.Copy(w, &source{rest: want, parts: 256 << 10})
	})
	client := request(t, addr)
	if err := client.SetReadBuffer(64 << 10); err != nil { // else it asks for more and more, up to megabytes
		t.Fatal(err)
	}
	conn := <-first
	full := option(t, conn, sendBuffer)
	awaitShrunk(t, conn, sendBytes)
	awaitRead(t, client, wire.Quantum/8, func() bool {
		<-time.After(300 * time.Millisecond)
		return option(t, conn, sendBuffer) == full
	})
}

// switched is a source that the test ends, and whose Hold it sees.
type switched struct {
	source
	hold func() (end bool)
}

// Hold implements [wire.Source].
func (s *switched) Hold() ([]byte, error) {
	if s.hold() {
		return nil, io.EOF
	}
	return s.source.Hold()
}

// The send buffer that shrank in one response has its whole size in the next one on the connection.
func TestSendBufferOfAKeptConnection(t *testing.T) {
	const sendBytes, length = 256 << 10, 8 << 20
	var conn *net.TCPConn
	var shrunk atomic.Bool
	begin := make(chan int, 1) // the send buffer when the second response begins
	addr, accepted := serveOver(t, wire.Config{Stall: time.Minute, SendBytes: sendBytes}, func(w http.ResponseWriter, r *http.Request) {
		src := &switched{source: source{rest: content(length), parts: 4 << 10}, hold: shrunk.Load}
		if shrunk.Load() {
			src.hold = func() bool {
				select {
				case begin <- option(t, conn, sendBuffer):
				default:
				}
				return false
			}
		}
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(length))
		_, _ = io.Copy(w, src)
		_, _ = w.Write(src.rest)
	})
	client := request(t, addr)
	conn = <-accepted
	full := option(t, conn, sendBuffer)
	awaitShrunk(t, conn, sendBytes)
	shrunk.Store(true)
	answers := bufio.NewReader(client)
	for i := range 2 {
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != length || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if got := option(t, conn, sendBuffer); i == 0 && got > sendBytes/4 {
			t.Fatalf("the send buffer takes %d bytes after the first response: this test shows nothing", got)
		}
		if i == 0 {
			if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := <-begin; got != full {
		t.Errorf("when the second response begins, the send buffer takes %d bytes, want %d", got, full)
	}
}

// awaitShrunk waits until the send buffer is small, because the client takes nothing.
func awaitShrunk(t *testing.T, conn *net.TCPConn, sendBytes int) {
	t.Helper()
	await(t, "the send buffer of a client that takes nothing does not shrink", func() bool { return option(t, conn, sendBuffer) <= sendBytes/4 })
}

// awaitRead reads so many bytes at a time until the send buffer is large.
func awaitRead(t *testing.T, client net.Conn, bytes int, large func() bool) {
	t.Helper()
	received, buf := 0, make([]byte, bytes)
	await(t, "the send buffer does not grow again when the client reads", func() bool {
		n, err := client.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", received, err)
		}
		received += n
		return large()
	})
}

// await waits until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-time.After(time.Millisecond)
	}
}
