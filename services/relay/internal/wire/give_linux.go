package wire

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// give gives the kernel as much of p as it takes without waiting.
func give(fd int, p Part) (n int, err error) {
	if p.File == nil {
		return write(fd, p.Bytes)
	}
	file, offset := int(p.File.Fd()), p.Offset
	for n < len(p.Bytes) {
		m, err := unix.Sendfile(fd, file, &offset, len(p.Bytes)-n) // moves the offset
		switch {
		case err == nil && m == 0:
			return n, io.ErrUnexpectedEOF // the file is shorter than its user says
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
