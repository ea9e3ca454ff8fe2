package wire

import (
	"errors"
	"os"
	"time"
)

// pace moves the write deadline with a client's progress, and shrinks the send buffer of a client that makes too little.
type pace struct {
	conn     *tcp
	due      int64 // the deadline moves when so many bytes are sent
	deadline time.Time
	// mark bytes were sent at the time since. The client has patience from then on to take least more.
	mark, least int64
	since       time.Time
}

// newPace returns the pace of one send, which begins with the whole send buffer.
func newPace(c *tcp) *pace {
	p := &pace{conn: c, least: int64(c.sockets.cfg.SendBytes / leastPart), since: time.Now()}
	if c.shrunk {
		p.resize(false)
	}
	return p
}

// hold holds the next bytes of src, when sent bytes are sent. The time that takes is not the client's.
func (p *pace) hold(src Source, sent int64) ([]byte, error) {
	begin := time.Now()
	part, err := src.Hold()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	moved := false
	if waited := now.Sub(begin); waited > time.Millisecond {
		p.since, p.deadline, moved = p.since.Add(waited), p.deadline.Add(waited), true
	}
	if sent >= p.due {
		p.due, p.deadline, moved = sent+Quantum, now.Add(p.conn.sockets.cfg.Stall), true
	}
	switch late := now.Sub(p.since) >= patience; {
	case sent-p.mark >= p.least:
		if p.conn.shrunk && !late {
			p.resize(false)
			moved = true
		}
		p.mark, p.since = sent, now
	case late && p.conn.shrunk: // the buffer may have been fuller than its new size until now
		p.mark, p.since = sent, now
	}
	if !moved {
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
	soon := p.since.Add(patience)
	if p.conn.shrunk || p.least == 0 || p.deadline.Before(soon) {
		return p.deadline
	}
	return soon
}

// goesOn reports whether err is only the end of patience. The sender then waits on.
func (p *pace) goesOn(err error) bool {
	now := time.Now()
	if p.conn.shrunk || !errors.Is(err, os.ErrDeadlineExceeded) || !now.Before(p.deadline) {
		return false
	}
	if now.Sub(p.since) >= patience { // else the client has made progress after the write deadline was set
		p.resize(true)
		p.since = now
	}
	return p.conn.SetWriteDeadline(p.next()) == nil
}

func (p *pace) resize(shrink bool) {
	p.conn.shrunk = shrink
	bytes := p.conn.sockets.cfg.SendBytes
	if shrink {
		bytes /= shrinkBy
	}
	setSendBuffer(p.conn.TCPConn, bytes)
}
