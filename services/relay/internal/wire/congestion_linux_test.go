package wire_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/services/relay/internal/wire"
	"golang.org/x/sys/unix"
)

// A near client's connection is not paced by BBR, a far one's is as the system has it; a system without BBR has its way.
func TestCongestionControl(t *testing.T) {
	system := congestion(t, listen(t, &net.ListenConfig{}).(*net.TCPListener))
	unpaced := system
	if strings.HasPrefix(system, "bbr") {
		unpaced = "reno"
	}
	for _, c := range []struct {
		name string
		near time.Duration
		want string
	}{
		{"near", time.Hour, unpaced},
		{"far", 0, system},
	} {
		s := wire.New(time.Minute)
		s.SetNear(c.near)
		l := listen(t, &net.ListenConfig{Control: s.Control})
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
		s.Wrap(conn.(*net.TCPConn))
		if got := congestion(t, conn.(*net.TCPConn)); got != c.want {
			t.Errorf("%s: %s, want %s; the system has %s", c.name, got, c.want, system)
		}
	}
}

func listen(t *testing.T, config *net.ListenConfig) net.Listener {
	t.Helper()
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// congestion returns the name of the socket's congestion control.
func congestion(t *testing.T, socket syscall.Conn) (name string) {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return strings.TrimRight(name, "\x00")
}
