package web

import (
	"container/list"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// mostRefusals is how many connections are refused at a time. Further connections wait to be accepted.
	mostRefusals = 64
	// refuseWithin is how long a client may take to receive the refusal; refuseBytes is how much of its request is discarded.
	refuseWithin = time.Second
	refuseBytes  = 64 << 10
	refuseRetry  = 2 // seconds
)

// Connections counts the connections of a server that bounds them.
type Connections struct {
	Open    int64 // now
	Waiting int64 // open connections that wait for a request or the rest of its header
	Evicted int64 // closed for new connections while they waited for a request or its header
	Refused int64 // answered 503, because requests were in flight on all connections
}

// bounded is a listener that limits the number of open connections. At the limit, a new connection evicts the connection that
// has waited longest for a request or the rest of its header. If requests are in flight on all connections, the new connection
// is refused.
type bounded struct {
	net.Listener
	most    int
	slots   chan struct{} // one for each refusal in progress
	closing chan struct{}
	once    sync.Once
	all     sync.WaitGroup // refusals

	evicted, refused atomic.Int64

	mu      sync.Mutex // guards what follows
	open    map[net.Conn]*list.Element
	waiting *list.List // connections without a request, longest first
}

func bound(l net.Listener, most int) *bounded {
	return &bounded{
		Listener: l, most: most, slots: make(chan struct{}, mostRefusals), closing: make(chan struct{}),
		open: make(map[net.Conn]*list.Element), waiting: list.New(),
	}
}

// stream has the methods of a TCP connection that net/http and the drainer look for.
type stream interface {
	net.Conn
	io.ReaderFrom
	syscall.Conn
	CloseWrite() error
}

// tracked counts as open until Close. net/http reports no state of a connection after the drainer has hijacked it.
type tracked struct {
	stream
	by *bounded
}

// Close implements [net.Conn].
func (t *tracked) Close() error {
	err := t.stream.Close()
	t.by.mu.Lock()
	defer t.by.mu.Unlock()
	t.by.forget(t)
	return err
}

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	for {
		accepted, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := &tracked{stream: accepted.(stream), by: b} // see ServerConfig.Wrap
		oldest, ok := b.admit(conn)
		if oldest != nil {
			b.evicted.Add(1)
			_ = oldest.Close()
		}
		if ok {
			return conn, nil
		}
		b.refused.Add(1)
		select {
		case b.slots <- struct{}{}:
			b.all.Go(func() { b.refuse(conn) })
		case <-b.closing:
			_ = conn.Close()
		}
	}
}

// admit records the connection if the limit allows. oldest, if not nil, is the evicted connection, which the caller closes.
func (b *bounded) admit(conn net.Conn) (oldest net.Conn, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) >= b.most {
		first := b.waiting.Front()
		if first == nil {
			return nil, false
		}
		oldest = first.Value.(net.Conn)
		b.forget(oldest)
	}
	b.open[conn] = b.waiting.PushBack(conn)
	return oldest, true
}

// forget is called with mu held.
func (b *bounded) forget(conn net.Conn) {
	if e := b.open[conn]; e != nil {
		b.waiting.Remove(e)
	}
	delete(b.open, conn)
}

// changed is for [http.Server.ConnState].
func (b *bounded) changed(conn net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, known := b.open[conn]
	if !known {
		return // evicted
	}
	switch state {
	case http.StateActive: // the header has arrived
		if e != nil {
			b.waiting.Remove(e)
			b.open[conn] = nil
		}
	case http.StateIdle:
		if e == nil {
			b.open[conn] = b.waiting.PushBack(conn)
		}
	case http.StateNew, http.StateHijacked, http.StateClosed: // Close forgets the connection
	}
}

// refuse answers the connection with a problem document.
func (b *bounded) refuse(conn *tracked) {
	defer func() { <-b.slots }()
	defer conn.Close() //nolint:errcheck // the client gets no further answer
	_ = conn.SetDeadline(time.Now().Add(refuseWithin))
	p := Unavailable("busy", refuseRetry, nil, "requests are in flight on all %d connections; retry later", b.most)
	body, _ := json.Marshal(p) // it has no members
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: %d\r\nConnection: close\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), ProblemType, len(body), p.RetryAfter, body)
	if err != nil || conn.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, refuseBytes) // closing with unread bytes resets the connection, and the reset destroys the answer
}

// Close implements [net.Listener].
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closing) })
	return b.Listener.Close()
}

func (b *bounded) counts() Connections {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Connections{Open: int64(len(b.open)), Waiting: int64(b.waiting.Len()), Evicted: b.evicted.Load(), Refused: b.refused.Load()}
}
