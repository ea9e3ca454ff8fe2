//go:build unix

package wire

import (
	"errors"

	"golang.org/x/sys/unix"
)

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
