package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// limitUnsent has the kernel take no more than so many bytes that it cannot send yet. Without it, a client that does not
// read costs up to net.ipv4.tcp_wmem, 4 MiB, which counts for the memory of the container.
func limitUnsent(conn *net.TCPConn, most int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // the connection is closed: its user will notice
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, most) // a kernel without it serves as well
	})
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
