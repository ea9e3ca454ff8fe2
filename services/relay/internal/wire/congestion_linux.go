package wire

import (
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Congestion controls. BBR paces: the kernel sends up to 64 KiB, sets a timer and goes on when it fires. On a long or lossy
// line that is well worth it. Within a data centre nothing is gained, and on a virtual machine, where setting a timer is
// work for its host, the timers cost more than copying the bytes. Reno sends as acknowledgements come, at such round
// trips recovers from a loss at once, and is in every kernel and for everyone to choose. It also is what cubic, the usual
// default, behaves like there: so only BBR is replaced.
const (
	pacing   = "bbr" // and what follows it: bbr2, bbr3
	unpaced  = "reno"
	nameSize = 16 // TCP_CA_NAME_MAX
)

// Control prepares the socket that listens: it is for a [net.ListenConfig]. What is accepted from it is not paced. That
// cannot be undone on a connection that has begun paced, so it is the far clients' connections that [Sockets.Wrap]
// changes: back to what the system has.
func (s *Sockets) Control(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		system, err := congestion(int(fd))
		if err != nil || !strings.HasPrefix(system, pacing) {
			return // there is nothing to win, or no way to know
		}
		if unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, unpaced) == nil {
			s.paced.Store(&system)
		}
	})
}

func congestion(fd int) (string, error) {
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return strings.TrimRight(name[:min(len(name), nameSize)], "\x00"), err
}

// pace gives a far client's connection the system's congestion control.
func (s *Sockets) pace(conn *net.TCPConn) {
	system := s.paced.Load()
	if system == nil {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the connection is closed: its user will notice
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		// The handshake has measured the round trip, in microseconds; 0 is unknown.
		if err == nil && info.Rtt > 0 && time.Duration(info.Rtt)*time.Microsecond <= s.near {
			return
		}
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, *system) // unpaced serves as well
	})
}
