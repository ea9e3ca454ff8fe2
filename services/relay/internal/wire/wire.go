// Package wire writes bodies that lie in shared memory to TCP connections without holding that memory for a client that
// is slow to take them: a sender writes what the kernel takes at once, drops the memory, and holds it again when there is
// room.
//
// [Sockets.Wrap] makes connections whose ReadFrom does so when its argument is a [Source]. net/http calls ReadFrom of the
// connection for what is copied to a response of known length, so that a handler needs no more than
//
//	io.Copy(w, source)
//
// Where a response is not written to such a connection, as in a test, the Source is read like any reader.
//
// What the kernel holds for a connection is bounded too, see [Config.SendBytes]. Bytes are copied to the kernel. Pages that
// are given to it by vmsplice(2) and splice(2) stay in the memory of the process, as a container counts it, until the
// client has read them, however many there are.
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
	// Hold returns the part that comes next, which stays as it is until Drop, or io.EOF. It may wait for the part, but not
	// for the client.
	Hold() ([]byte, error)
	// Drop releases what Hold returned. The first n bytes of it are sent.
	Drop(n int)
}

const (
	// Quantum is how much a client must take within the stall time, again and again.
	Quantum = 256 << 10
	// A send buffer shrinks to a quarter (shrinkBy) when the client takes less than a sixteenth of it (leastPart) within
	// patience. It has its whole size again when the client takes that much within patience, and in the next response. A
	// sixteenth fits into the small buffer, so that a client can take it in one round trip.
	patience  = time.Second
	shrinkBy  = 4
	leastPart = 16
)

// Config configures [Sockets].
type Config struct {
	// Stall is how long a client may take for [Quantum] bytes.
	Stall time.Duration
	// SendBytes is the most that the kernel may hold of what is to be sent to one client, in memory: bytes, and what they are
	// wrapped in. It is at least [MinSendBytes]; zero leaves that to the kernel. It shrinks to a quarter while a client takes
	// less than a sixteenth of it a second.
	SendBytes int
	// Congestion names the TCP congestion control of connections; empty is the system's.
	Congestion string
}

// Sockets sets up the sockets of one server.
type Sockets struct{ cfg Config }

// New returns the sockets of a server. A client that takes less than [Quantum] bytes within cfg.Stall gets
// os.ErrDeadlineExceeded, and what the kernel still has for it is dropped when its connection is closed.
func New(cfg Config) *Sockets { return &Sockets{cfg: cfg} }

// Wrap returns conn, which a listener prepared by [Sockets.Control] accepted, with a ReadFrom that sends a [Source] as the
// package comment says. A write deadline set before is replaced.
func (s *Sockets) Wrap(conn *net.TCPConn) net.Conn { return &tcp{TCPConn: conn, sockets: s} }

type tcp struct {
	*net.TCPConn
	sockets *Sockets
	shrunk  bool // the send buffer is small
}

// ReadFrom implements [io.ReaderFrom].
func (c *tcp) ReadFrom(r io.Reader) (int64, error) {
	if src, ok := r.(Source); ok {
		cork(c.TCPConn, true) // or the end of each part goes out in a small packet of its own
		defer cork(c.TCPConn, false)
		n, err := c.send(src)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = c.SetLinger(0) // else the kernel holds for minutes what the client does not take
		}
		return n, err
	}
	return c.TCPConn.ReadFrom(r)
}
