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
// [Config.SendBytes] bounds the memory of the kernel for a connection. On Linux, Write and ReadFrom return when the client's
// system has acknowledged almost all bytes, or fail when the client is too slow. A handler that sends a body within a limit on
// responses thus limits the send buffers of all connections: those that are idle or closed have none to speak of.
//
// Bytes are copied to the kernel. Pages that vmsplice(2) and splice(2) pass to it stay in the memory of the process, as a
// container counts it, until the client's system has acknowledged them.
package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
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

const (
	// restBytes is how much the kernel may hold for a client after a send. Most answers without an object fit into it.
	restBytes = 4 << 10
	// writeStall replaces a longer [Config.Stall] for Write, which sends answers without an object.
	writeStall = 5 * time.Second
	// firstPause and lastPause are the least and the most time between two checks of what the kernel holds.
	firstPause = time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// Config configures [Sockets].
type Config struct {
	// Stall is how long a client may take for [Quantum] bytes. Write waits at most 5 seconds for its bytes to be acknowledged.
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
// os.ErrDeadlineExceeded. The kernel then drops the rest when the connection is closed.
func New(cfg Config) *Sockets { return &Sockets{cfg: cfg} }

// Wrap returns conn, which a listener prepared by [Sockets.Control] accepted, with a ReadFrom that sends a [Source] as the
// package comment says. Sending a Source replaces the connection's write deadline.
func (s *Sockets) Wrap(conn *net.TCPConn) net.Conn {
	raw, _ := conn.SyscallConn() // it fails for a nil connection only
	return &tcp{TCPConn: conn, raw: raw, stall: s.cfg.Stall, readDone: make(chan struct{}, 1)}
}

type tcp struct {
	*net.TCPConn
	raw      syscall.RawConn
	stall    time.Duration
	readDone chan struct{}             // receives a value when Read returns, after which the kernel may hold less
	deadline atomic.Pointer[time.Time] // the write deadline; nil or zero: none, or the moving one of a send
}

// SetDeadline implements [net.Conn].
func (c *tcp) SetDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.TCPConn.SetDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *tcp) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.TCPConn.SetWriteDeadline(t)
}

// Read implements [net.Conn].
func (c *tcp) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	select {
	case c.readDone <- struct{}{}:
	default:
	}
	return n, err
}

// Write implements [net.Conn].
func (c *tcp) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	return n, c.settle(err, min(c.stall, writeStall))
}

// ReadFrom implements [io.ReaderFrom].
func (c *tcp) ReadFrom(r io.Reader) (n int64, err error) {
	if src, ok := r.(Source); ok {
		n, err = c.send(src)
	} else {
		n, err = c.TCPConn.ReadFrom(r)
	}
	return n, c.settle(err, c.stall)
}

// settle ends a send that returned err. It waits until the client's system has acknowledged what the kernel holds, and returns
// err or its own error. If the client is too slow, closing the connection drops the rest; otherwise the kernel holds it for
// minutes.
func (c *tcp) settle(err error, stall time.Duration) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		if late := c.await(stall); err == nil || late != nil {
			err = late
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.SetLinger(0)
	}
	return err
}

// await waits until the kernel holds at most restBytes, or fails at the connection's write deadline, or after stall. The stall
// begins again with each Quantum that the client's system acknowledges.
func (c *tcp) await(stall time.Duration) error {
	held, err := c.held(-1)
	if err != nil || held <= restBytes {
		return err
	}
	mark, deadline := held, time.Now().Add(stall)
	timer := time.NewTimer(firstPause)
	defer timer.Stop()
	for pause := firstPause; ; timer.Reset(pause) {
		select {
		case <-c.readDone: // the client's next request comes with its last acknowledgement
		case <-timer.C:
			pause = min(2*pause, lastPause)
		}
		if held, err = c.held(held); err != nil || held <= restBytes {
			return err
		}
		now := time.Now()
		if mark-held >= Quantum {
			mark, deadline = held, now.Add(stall)
		}
		if now.After(deadline) || c.late(now) {
			return os.ErrDeadlineExceeded
		}
	}
}

// late reports whether the write deadline has passed.
func (c *tcp) late(now time.Time) bool {
	t := c.deadline.Load()
	return t != nil && !t.IsZero() && now.After(*t)
}

// send writes src to its end. The deadline moves with each Quantum, and by the time that the source takes.
func (c *tcp) send(src Source) (sent int64, err error) {
	c.deadline.Store(nil)
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
		if err := c.TCPConn.SetWriteDeadline(deadline); err != nil {
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
