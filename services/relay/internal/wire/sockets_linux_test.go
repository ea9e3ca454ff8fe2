package wire_test

import (
	"context"
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
