package wire

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// unsentBytes is how much may wait in the kernel to be sent on one connection. It keeps the kernel busy while the relay
	// looks up the next segment. A send buffer that is larger than the default leaves the rest to what is on the way to a far
	// client.
	unsentBytes = 256 << 10
	// packetBytes is how far the kernel goes beyond a send buffer that is not full: by one packet.
	packetBytes = 64 << 10
	// receiveBytes is how much of what a client sent may wait in the kernel: a request's header.
	receiveBytes = 16 << 10
	// MinSendBytes is the least [Config.SendBytes].
	MinSendBytes = 2 * packetBytes
)

// Control prepares the listening socket, from which accepted sockets inherit. It is for a [net.ListenConfig].
func (s *Sockets) Control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// A kernel that refuses one of these still serves, with another bound.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBytes/2) // the kernel doubles both sizes
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		if s.cfg.SendBytes > 0 {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, max(s.cfg.SendBytes-packetBytes, packetBytes/2)/2)
		}
		if s.cfg.Congestion != "" { // see CheckCongestion
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.cfg.Congestion)
		}
	})
}

// held returns how many bytes the kernel holds that the client's system has not acknowledged. last is the last result, or -1.
func (c *tcp) held(last int) (n int, err error) {
	err = c.raw.Control(func(fd uintptr) {
		// A kernel that does not answer counts as one that holds nothing.
		if n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); n <= restBytes || n != last {
			return
		}
		// A connection that the client has reset holds nothing, and keeps its number.
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.State == unix.BPF_TCP_CLOSE {
			n = 0
		}
	})
	return n, err
}

// allowed lists the congestion controls that a program may choose.
const allowed = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

// CheckCongestion returns why this system does not let a program choose the TCP congestion control, or nil.
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
