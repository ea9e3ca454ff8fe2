package openloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// answerWithin bounds the wait for an answer.
const answerWithin = 30 * time.Second

// conn is a connection whose reads and writes block its thread: no scheduler stands between the kernel and the clock.
type conn struct {
	file *os.File
	fd   int
	buf  []byte
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close() // File duplicates the descriptor
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd()) // which makes it block
	timeout := unix.NsecToTimeval(int64(answerWithin))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &conn{file: file, fd: fd, buf: make([]byte, 64<<10)}, nil
}

func (c *conn) close() { _ = c.file.Close() }

// get sends the request and returns the status of the answer after its last byte.
func (c *conn) get(request []byte) (status int, err error) {
	if n, err := unix.Write(c.fd, request); err != nil || n < len(request) {
		return 0, fmt.Errorf("send a request: %d bytes of %d: %w", n, len(request), err)
	}
	have, head, want := 0, 0, 0
	for want == 0 || have < want {
		n, err := unix.Read(c.fd, c.buf[have:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("read an answer: %w", err)
		case n == 0:
			return 0, fmt.Errorf("the server closed the connection after %d bytes of an answer, or the answer is longer than %d", have, len(c.buf))
		}
		have += n
		if head == 0 {
			if head = bytes.Index(c.buf[:have], []byte("\r\n\r\n")) + 4; head < 4 {
				head = 0
				continue
			}
			var body int
			if status, body, err = parseHead(c.buf[:head]); err != nil {
				return 0, err
			}
			want = head + body
		}
	}
	return status, nil
}

// parseHead returns the status and the length of the body.
func parseHead(head []byte) (status, length int, err error) {
	if len(head) < 12 {
		return 0, 0, fmt.Errorf("%q is no answer of HTTP/1.1", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, fmt.Errorf("%.40q is no answer of HTTP/1.1", head)
	}
	const name = "\r\nContent-Length: "
	_, after, ok := bytes.Cut(head, []byte(name))
	text, _, _ := bytes.Cut(after, []byte("\r\n"))
	if !ok {
		return 0, 0, fmt.Errorf("an answer %d has no Content-Length", status)
	}
	length, err = strconv.Atoi(string(text))
	return status, length, err
}
