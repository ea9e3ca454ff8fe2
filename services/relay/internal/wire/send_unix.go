//go:build unix

package wire

import (
	"errors"
	"io"
)

// send writes src to its end. While it waits for the client it holds nothing.
func (c *tcp) send(src Source) (sent int64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	pace := pace{conn: c}
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
				return true // there is room again: hold the bytes anew
			}
			if part.Given {
				n, failed = c.sockets.pipes.give(int(fd), part.Bytes)
			} else {
				n, failed = write(int(fd), part.Bytes)
			}
			src.Drop(n)
			held = false
			return n > 0 || failed != nil
		})
		if held { // the deadline had passed, or the connection was closed
			src.Drop(0)
		}
		sent += int64(n)
		if err = errors.Join(err, failed); err != nil {
			return sent, err
		}
	}
}
