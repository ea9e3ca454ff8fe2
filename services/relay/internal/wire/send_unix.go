//go:build unix

package wire

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// send writes src to its end. While it waits for the client it holds nothing.
func (c *tcp) send(src Source) (sent int64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	pace := newPace(c)
	for {
		part, err := pace.hold(src, sent)
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		held, n := true, 0
		var failed error
		err = raw.Write(func(fd uintptr) (done bool) {
			if !held {
				return true // there is room again: hold the bytes again
			}
			n, failed = write(int(fd), part)
			src.Drop(n)
			held = false
			return n > 0 || failed != nil
		})
		if held { // the deadline had passed, or the connection was closed
			src.Drop(0)
		}
		sent += int64(n)
		if failed == nil && err != nil && pace.goesOn(err) {
			continue
		}
		if err = errors.Join(err, failed); err != nil {
			return sent, err
		}
	}
}

// write writes as much of p as the kernel takes without waiting.
func write(fd int, p []byte) (n int, err error) {
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
