//go:build !unix

package wire

import (
	"errors"
	"io"
)

// send writes src to its end, holding each part until it is written.
func (c *tcp) send(src Source) (sent int64, err error) {
	pace := newPace(c)
	for {
		part, err := pace.hold(src, sent)
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		n, err := c.Write(part)
		src.Drop(n)
		sent += int64(n)
		if err != nil && !pace.goesOn(err) {
			return sent, err
		}
	}
}
