package web

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// bounds limits how much of a body is discarded after the answer.
type bounds struct {
	bytes int64
	// rate is the least average rate, in bytes a second. It applies after grace.
	rate  int64
	grace time.Duration
	// stall is the longest pause, total the longest drain.
	stall, total time.Duration
}

// deadline returns when the next byte must have arrived, after n bytes since start.
func (b bounds) deadline(start, now time.Time, n int64) time.Time {
	end := start.Add(b.grace + time.Duration(n)*time.Second/time.Duration(b.rate))
	for _, other := range []time.Time{now.Add(b.stall), start.Add(b.total)} {
		if other.Before(end) {
			end = other
		}
	}
	return end
}

// drainer discards the rest of a request's body after the answer. Closing a connection with unread bytes resets it, and the reset
// destroys the answer on its way to a client that sends before it reads. net/http discards at most 256 KiB, before it sends the
// answer, and without a deadline.
type drainer struct {
	// full bounds a drain that holds a slot, brief a drain without a slot.
	full, brief bounds
	slots       chan struct{}
	// write is how long a client may take to receive the answer.
	write time.Duration
	// linger is the time between the FIN after the answer and the close of the connection.
	linger time.Duration
}

func newDrainer() *drainer {
	const linger = 500 * time.Millisecond // as net/http
	return &drainer{
		// A client may send at 1 KiB a second.
		full:  bounds{bytes: 256 << 20, rate: 1 << 10, grace: 10 * time.Second, stall: 10 * time.Second, total: 30 * time.Minute},
		brief: bounds{bytes: smallBody, rate: 1, grace: linger, stall: linger, total: linger},
		slots: make(chan struct{}, 64),
		write: 30 * time.Second, linger: linger,
	}
}

// serve calls next for a request with a body, and drains the body after the answer.
func (d *drainer) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body := &requestBody{control: http.NewResponseController(w), r: r.Body, length: r.ContentLength}
	// The controller returns an error if w is no network connection, as in a test.
	_ = body.control.EnableFullDuplex() // else net/http reads before it sends
	rec := &recorder{ResponseWriter: w}
	clone := *r // net/http needs its own body in r
	clone.Body = body
	returned := false
	defer func() {
		if !returned && body.state() != bodyEnded { // net/http would wait for the client before it closes the connection
			if conn, _ := body.hijack(); conn != nil {
				conn.Close()
			}
		}
	}()
	next.ServeHTTP(rec, &clone)
	returned = true
	if body.state() != bodyEnded {
		d.finish(rec, r, body)
	}
}

// finish sends the answer and discards the rest of the body. It keeps the connection only if the body has ended.
func (d *drainer) finish(rec *recorder, r *http.Request, body *requestBody) {
	_ = body.control.SetWriteDeadline(time.Now().Add(d.write))
	stop := Stopping(r.Context())
	// Without a Content-Length, net/http sends the end of the answer after finish returns: a long drain would delay it.
	open := rec.open(r.Method)
	if open && d.drain(stop, body, d.brief) {
		return
	}
	sent := body.control.Flush() == nil
	if sent && !open && d.drainInSlot(stop, body) {
		return
	}
	conn, wire := body.hijack()
	if conn == nil {
		return
	}
	defer conn.Close()
	if !sent {
		return
	}
	_ = conn.SetWriteDeadline(time.Now().Add(d.linger))
	if open && r.ProtoAtLeast(1, 1) {
		_, _ = wire.WriteString("0\r\n\r\n") // the last chunk
		_ = wire.Flush()
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if body.state() == bodyFailed && d.drainInSlot(stop, conn) { // a client that stalled may continue
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(d.linger))
	for { // until the client closes the connection or linger has passed
		if _, err := wire.Discard(smallBody); err != nil {
			return
		}
	}
}

// wire is the source of a drain: a body or a connection.
type wire interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// drainInSlot drains within the full bounds if a slot is free, and within the brief bounds otherwise.
func (d *drainer) drainInSlot(stop context.Context, from wire) (ended bool) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
		return d.drain(stop, from, d.full)
	default:
		return d.drain(stop, from, d.brief)
	}
}

var drainBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// drain reads and discards bytes within the bounds, until stop ends. It reports whether it reached the end.
func (d *drainer) drain(stop context.Context, from wire, within bounds) (ended bool) {
	fired := make(chan struct{})
	cancel := context.AfterFunc(stop, func() {
		defer close(fired)
		_ = from.SetReadDeadline(past)
	})
	defer func() {
		if !cancel() {
			<-fired
		}
		if ended { // net/http reads ahead now, and would take the deadline for a disconnect
			_ = from.SetReadDeadline(time.Time{})
		}
	}()
	buf := drainBuffers.Get().(*[4 << 10]byte)
	defer drainBuffers.Put(buf)
	start, read := time.Now(), int64(0)
	for read < within.bytes {
		if from.SetReadDeadline(within.deadline(start, time.Now(), read)) != nil || stop.Err() != nil {
			return false
		}
		n, err := from.Read(buf[:])
		read += int64(n)
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}

type stopKey struct{}

// withStop returns a context for the requests of a server that stops when stop ends.
func withStop(requests, stop context.Context) context.Context {
	return context.WithValue(requests, stopKey{}, stop)
}

// Stopping returns the context that ends when the [Server] of the request begins to stop. The context of the request outlives it by the grace
// period. A handler whose response has no end must return then. Without a Server the context never ends.
func Stopping(request context.Context) context.Context {
	if stop, ok := request.Value(stopKey{}).(context.Context); ok {
		return stop
	}
	return context.Background()
}
