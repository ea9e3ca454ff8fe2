package wire_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/services/internal/web"
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
	sockets := wire.New(wire.Config{Stall: time.Minute, SendBytes: sendBytes})
	accepted := make(chan *net.TCPConn, 1)
	want := content(64 << 20)
	srv := web.NewServer(web.ServerConfig{
		Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), Grace: time.Nanosecond, Control: sockets.Control,
		Wrap: func(c *net.TCPConn) net.Conn { accepted <- c; return sockets.Wrap(c) },
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, _ = io.Copy(w, &source{rest: want, parts: 256 << 10})
	}))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client := request(t, srv.Addr())
	conn := <-accepted
	full := option(t, conn, sendBuffer)
	if full > sendBytes || full < sendBytes/2 {
		t.Errorf("a send buffer takes %d bytes, want at most %d", full, sendBytes)
	}
	await(t, "the send buffer of a client that takes nothing does not shrink", func() bool { return option(t, conn, sendBuffer) <= sendBytes/4 })
	received := 0
	buf := make([]byte, 1<<20)
	await(t, "the send buffer does not grow again when the client reads", func() bool {
		n, err := client.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", received, err)
		}
		received += n
		return option(t, conn, sendBuffer) == full
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
