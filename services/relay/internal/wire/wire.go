// Package wire writes bodies that lie in shared memory to TCP connections without holding that memory for a client that
// is slow to take them: it writes what the kernel takes at once, lets the memory go, and asks for it again when there is
// room.
//
// What lies in pages that nobody will write to again is not even copied: the kernel is given the pages, see [Part].
//
// [Sockets.Wrap] makes connections whose ReadFrom does so when it is given a [Source]. net/http calls ReadFrom of the
// connection for what is copied to a response of known length, so that a handler needs no more than
//
//	io.Copy(w, source)
//
// Where a response is not written to such a connection, as in a test, the Source is read like any reader.
//
// What the kernel holds for a connection is bounded too, apart from what is on the way to the client: see
// unsentBytes. How it sends depends on how near the client is: see nearby.
package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Source is a body, a part of which is in memory at a time. It is for one goroutine.
type Source interface {
	io.Reader
	// Hold returns the part that comes next, which stays as it is until Drop, or io.EOF. It may wait for it, but not for
	// the client.
	Hold() (Part, error)
	// Drop lets go of what Hold returned, the first n bytes of which are dealt with.
	Drop(n int)
}

// Part is some bytes of a body.
type Part struct {
	Bytes []byte
	// Given says that the kernel may be given the pages that Bytes lie in, to send them without copying, which it does
	// later: they must not be written to any more, not even after Drop. Who needs the place has the kernel put other
	// pages there first (MADV_DONTNEED) and leaves those to it. It is for whole pages outside of the Go heap.
	Given bool
}

const (
	// Quantum is how much a client must take within the stall time, again and again.
	Quantum = 256 << 10
	// unsentBytes is how much may wait in the kernel to be sent on one connection. It is enough to keep the kernel busy
	// while the next segment is looked up, and does not bound what is on the way, so a long line is filled.
	unsentBytes = 256 << 10
	// nearby is the round trip to a client up to which it is in the same place as we are, most likely.
	nearby = time.Millisecond
)

// Sockets sets up the sockets of one server.
type Sockets struct {
	stall time.Duration
	near  time.Duration          // round trips up to this
	paced atomic.Pointer[string] // the system's congestion control, where near clients get another; see Control
	pipes pipes
}

// New returns the sockets of a server, to be closed. A client that takes less than [Quantum] bytes within stall gets
// os.ErrDeadlineExceeded, and what the kernel still has for it is dropped when its connection is closed.
func New(stall time.Duration) *Sockets { return &Sockets{stall: stall, near: nearby} }

// Close releases what the sockets share. Bodies that are still being sent are copied from then on.
func (s *Sockets) Close() { s.pipes.close() }

// Wrap returns conn, which a listener prepared by [Sockets.Control] accepted, with a ReadFrom that sends a [Source] as the
// package comment says. A write deadline set before is replaced.
func (s *Sockets) Wrap(conn *net.TCPConn) net.Conn {
	s.pace(conn)
	limitUnsent(conn, unsentBytes)
	return &tcp{TCPConn: conn, sockets: s}
}

type tcp struct {
	*net.TCPConn
	sockets *Sockets
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

// pace moves the write deadline with a client's progress.
type pace struct {
	conn     *tcp
	due      int64 // the deadline moves when so many bytes are sent
	deadline time.Time
}

// hold holds the next bytes of src, when sent bytes are sent. The time that takes is not the client's.
func (p *pace) hold(src Source, sent int64) (Part, error) {
	begin := time.Now()
	part, err := src.Hold()
	if err != nil {
		return Part{}, err
	}
	now := time.Now()
	switch waited := now.Sub(begin); {
	case sent >= p.due:
		p.due, p.deadline = sent+Quantum, now.Add(p.conn.sockets.stall)
	case waited > time.Millisecond:
		p.deadline = p.deadline.Add(waited)
	default:
		return part, nil
	}
	if err := p.conn.SetWriteDeadline(p.deadline); err != nil {
		src.Drop(0)
		return Part{}, err
	}
	return part, nil
}
