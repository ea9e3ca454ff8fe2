package wire

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// unsentBytes is how much may wait in the kernel to be sent on one connection. It is enough to keep the kernel busy
	// while the next segment is looked up. With a send buffer that is larger than the default, what is on the way to a far
	// client may take the rest.
	unsentBytes = 256 << 10
	// packetBytes is how far the kernel goes beyond a send buffer that is not full: by one packet.
	packetBytes = 64 << 10
	// receiveBytes is how much may wait in the kernel to be read of what a client sent: a request's header.
	receiveBytes = 16 << 10
	// MinSendBytes is the least that the kernel may be told to hold for a client.
	MinSendBytes = 2 * packetBytes
)

// Control prepares the socket that listens, from which those that are accepted inherit: it is for a [net.ListenConfig].
func (s *Sockets) Control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// A kernel without one of these serves as well, with another bound.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBytes/2) // the kernel doubles both
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		if s.cfg.SendBytes > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer(s.cfg.SendBytes))
		}
		if s.cfg.Congestion != "" { // see CheckCongestion
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.cfg.Congestion)
		}
	})
}

// allowed lists the congestion controls that a program may choose.
const allowed = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

// CheckCongestion says why this system does not let a program choose the TCP congestion control, if so.
func CheckCongestion(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was sent
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		text, _ := os.ReadFile(allowed)
		return fmt.Errorf("this system allows %s (%s): %w", strings.Join(strings.Fields(string(text)), ", "), allowed, err)
	}
	return nil
}

// sendBuffer returns the value of SO_SNDBUF with which the kernel takes no more than bytes.
func sendBuffer(bytes int) int { return max(bytes-packetBytes, packetBytes/2) / 2 }

// setSendBuffer bounds what the kernel takes from now on; what it has stays.
func setSendBuffer(conn *net.TCPConn, bytes int) {
	if bytes == 0 {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the connection is closed: its user will notice
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer(bytes)) })
}

// cork has the kernel send full packets only, for up to 200 ms each, or whatever there is again.
func cork(conn *net.TCPConn, on bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the connection is closed: its user will notice
	}
	value := 0
	if on {
		value = 1
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, value) })
}
