// Package wire writes bodies that lie in shared memory to TCP connections, and holds none of that memory for a client that
// is slow: a sender writes what the kernel takes at once, drops the memory, and holds it again when the socket is writable.
//
// [Sockets.Wrap] returns connections whose ReadFrom does so when its argument is a [Source]. net/http calls ReadFrom of the
// connection for what is copied to a response of known length, so that a handler needs no more than
//
//	io.Copy(w, source)
//
// Where a response is not written to such a connection, as in a test, the Source is read like any reader.
//
// [Config.SendBytes] bounds the memory of the kernel for a connection. Bytes are copied to the kernel. Pages that
// vmsplice(2) and splice(2) pass to it stay in the memory of the process, as a container counts it, until the client has read
// them.
package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Source is a body, a part of which is in memory at a time. It is for one goroutine.
type Source interface {
	io.Reader
	// Hold returns the next part, which stays unchanged until Drop, or io.EOF. It may wait for the part, but not for the
	// client.
	Hold() ([]byte, error)
	// Drop releases what Hold returned. The first n bytes of it are sent.
	Drop(n int)
}

// Quantum is how much a client must take within each stall time.
const Quantum = 256 << 10

// Config configures [Sockets].
type Config struct {
	// Stall is how long a client may take for [Quantum] bytes.
	Stall time.Duration
	// SendBytes is the most memory of the kernel for what is to be sent to one client: bytes, and their packet headers. It is at
	// least [MinSendBytes]; zero leaves the bound to the kernel.
	SendBytes int
	// Congestion names the TCP congestion control of connections; empty is the system's.
	Congestion string
}

// Sockets sets up the sockets of one server.
type Sockets struct{ cfg Config }

// New returns the sockets of a server. A send to a client that takes less than [Quantum] bytes within cfg.Stall fails with
// os.ErrDeadlineExceeded, and what the kernel still holds for it is dropped when its connection is closed.
func New(cfg Config) *Sockets { return &Sockets{cfg: cfg} }

// Wrap returns conn, which a listener prepared by [Sockets.Control] accepted, with a ReadFrom that sends a [Source] as the
// package comment says. It replaces the connection's write deadline.
func (s *Sockets) Wrap(conn *net.TCPConn) net.Conn { return &tcp{TCPConn: conn, stall: s.cfg.Stall} }

type tcp struct {
	*net.TCPConn
	stall time.Duration
}

// ReadFrom implements [io.ReaderFrom].
func (c *tcp) ReadFrom(r io.Reader) (int64, error) {
	src, ok := r.(Source)
	if !ok {
		return c.TCPConn.ReadFrom(r)
	}
	n, err := c.send(src)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetLinger(0) // otherwise the kernel holds for minutes what the client does not take
	}
	return n, err
}

// send writes src to its end. The deadline moves with each Quantum, and by the time that the source takes.
func (c *tcp) send(src Source) (sent int64, err error) {
	var deadline time.Time
	due := int64(0) // the deadline moves when so many bytes are sent
	for {
		began := time.Now()
		part, err := src.Hold()
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		now := time.Now()
		waited := now.Sub(began)
		if sent >= due {
			due, deadline = sent+Quantum, now.Add(c.stall)
		} else if waited > time.Millisecond {
			deadline = deadline.Add(waited)
		}
		if err := c.SetWriteDeadline(deadline); err != nil {
			src.Drop(0)
			return sent, err
		}
		n, err := c.write(src, part)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
}
