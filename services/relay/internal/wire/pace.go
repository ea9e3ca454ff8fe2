package wire

import (
	"errors"
	"os"
	"time"
)

// pace moves the write deadline with a client's progress, and makes the send buffer of a client small that makes little.
type pace struct {
	conn     *tcp
	due      int64 // the deadline moves when so many bytes are sent
	begun    time.Time
	deadline time.Time
	shrunk   bool // the send buffer is small
}

// hold holds the next bytes of src, when sent bytes are sent. The time that takes is not the client's.
func (p *pace) hold(src Source, sent int64) ([]byte, error) {
	begin := time.Now()
	part, err := src.Hold()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	switch waited := now.Sub(begin); {
	case sent >= p.due:
		if p.shrunk && now.Sub(p.begun) < patience {
			p.resize(false)
		}
		p.due, p.begun, p.deadline = sent+Quantum, now, now.Add(p.conn.sockets.cfg.Stall)
	case waited > time.Millisecond:
		p.begun, p.deadline = p.begun.Add(waited), p.deadline.Add(waited)
	default:
		return part, nil
	}
	if err := p.conn.SetWriteDeadline(p.next()); err != nil {
		src.Drop(0)
		return nil, err
	}
	return part, nil
}

// next returns when a wait for the client ends: at the deadline, or earlier, to shrink the send buffer.
func (p *pace) next() time.Time {
	if soon := p.begun.Add(patience); !p.shrunk && soon.Before(p.deadline) {
		return soon
	}
	return p.deadline
}

// goesOn reports whether err is only the end of patience. The sender then waits until the deadline.
func (p *pace) goesOn(err error) bool {
	if p.shrunk || !errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(p.deadline) {
		return false
	}
	p.resize(true)
	return p.conn.SetWriteDeadline(p.deadline) == nil
}

func (p *pace) resize(shrink bool) {
	p.shrunk = shrink
	bytes := p.conn.sockets.cfg.SendBytes
	if shrink {
		bytes /= shrinkBy
	}
	setSendBuffer(p.conn.TCPConn, bytes)
}
