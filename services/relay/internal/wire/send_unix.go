//go:build unix

package wire

import (
	"errors"

	"golang.org/x/sys/unix"
)

// write writes as much of part, which src holds, as the kernel takes at once, and drops it. If the kernel takes nothing, write
// then waits until the socket is writable.
func (c *tcp) write(src Source, part []byte) (n int, err error) {
	tried := false
	var failed error
	err = c.raw.Write(func(fd uintptr) (done bool) {
		if tried {
			return true
		}
		tried = true
		n, failed = writeAll(int(fd), part)
		src.Drop(n)
		return n > 0 || failed != nil
	})
	if !tried { // the deadline had passed, or the connection was closed
		src.Drop(0)
	}
	return n, errors.Join(err, failed)
}

// writeAll writes as much of p as the kernel takes without waiting.
func writeAll(fd int, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(fd, p[n:])
		switch {
		case err == nil:
			n += m
		case errors.Is(err, unix.EAGAIN):
			return n, nil
		case !errors.Is(err, unix.EINTR):
			return n, err
		}
	}
	return n, nil
}
