package web

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// smallBody is the length up to which the rest of a body costs less than a new connection.
const smallBody = 256 << 10

// requestBody is the body of a request. It records how reading ended.
type requestBody struct {
	control *http.ResponseController
	length  int64 // as declared, -1 for unknown
	read    atomic.Int64
	how     atomic.Int32 // a bodyState

	mu  sync.Mutex // held during a Read, which may still run after the handler has returned
	r   io.Reader
	err error // of the last Read
}

type bodyState int32

const (
	bodyOpen   bodyState = iota // more bytes may follow
	bodyEnded                   // read to its end
	bodyFailed                  // the client disconnected, stalled or broke the protocol
)

func (b *requestBody) state() bodyState { return bodyState(b.how.Load()) }

var errAnswered = errors.New("the request is answered")

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.read.Add(int64(n))
	if err == io.EOF {
		b.how.Store(int32(bodyEnded))
	} else if err != nil {
		b.how.Store(int32(bodyFailed))
	}
	b.err = err
	return n, err
}

// Close does nothing: net/http closes its body.
func (b *requestBody) Close() error { return nil }

// SetReadDeadline sets the deadline of the connection.
func (b *requestBody) SetReadDeadline(t time.Time) error { return b.control.SetReadDeadline(t) }

// past is a deadline that ends a Read in progress.
var past = time.Unix(1, 0)

// hijack takes the connection from net/http, which would wait for the rest of the body without a deadline. A Read in progress
// ends, and later reads fail. hijack returns nil if there is no connection or the connection is broken.
func (b *requestBody) hijack() (net.Conn, *bufio.ReadWriter) {
	if b.SetReadDeadline(past) != nil {
		return nil, nil
	}
	b.mu.Lock()
	b.err = errAnswered
	b.mu.Unlock()
	conn, wire, err := b.control.Hijack()
	if err != nil {
		return nil, nil
	}
	return conn, wire
}

// short reports whether the rest of the body, by its declared length, is small enough to keep the connection.
func (b *requestBody) short() bool {
	switch b.state() {
	case bodyEnded:
		return true
	case bodyFailed:
		return false
	default:
		return b.length >= 0 && b.length-b.read.Load() <= smallBody
	}
}
