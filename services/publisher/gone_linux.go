package publisher

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// closed reports whether the peer has closed the connection, or its side of it.
func closed(c syscall.RawConn) (yes bool) {
	_ = c.Control(func(fd uintptr) { // an error means that this process has closed it
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}} // POLLERR and POLLHUP are always reported
		n, err := unix.Poll(fds, 0)
		yes = err == nil && n > 0
	})
	return yes
}
