package wire

import (
	"errors"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeBytes is how much a pipe holds: 64 pages. They are what a system's default for users (pipe-user-pages-soft) lets
	// each of 256 pipes have.
	pipeBytes = 256 << 10
	// leastGiven is from how many bytes on it costs less to give pages, in several system calls, than to copy.
	leastGiven = 32 << 10
)

// pipes are what pages pass through on their way to sockets: vmsplice(2) puts them in, splice(2) takes them out. A pipe
// is one sender's at a time and empty between, so there are about as many as processors.
type pipes struct {
	mu      sync.Mutex
	free    []*pipe
	refused bool // the system does not let us, or close was called
}

type pipe struct{ r, w, null int }

// give gives the kernel the pages that b lies in, as many as it takes without waiting, and returns how many bytes.
func (ps *pipes) give(fd int, b []byte) (n int, err error) {
	if len(b) < leastGiven {
		return write(fd, b)
	}
	p := ps.get()
	if p == nil {
		return write(fd, b)
	}
	for n < len(b) {
		filled, err := p.fill(b[n:])
		if err != nil { // as gVisor and some containers say
			p.close()
			ps.close()
			m, err := write(fd, b[n:])
			return n + m, err
		}
		sent, err := p.empty(fd, filled)
		n += sent
		if sent < filled {
			if p.drain(filled-sent) != nil {
				p.close() // what is left must not come before what is sent next
				return n, err
			}
			ps.put(p)
			return n, err
		}
	}
	ps.put(p)
	return n, nil
}

// get returns an empty pipe, or nil.
func (ps *pipes) get() *pipe {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.refused {
		return nil
	}
	if last := len(ps.free) - 1; last >= 0 {
		p := ps.free[last]
		ps.free = ps.free[:last]
		return p
	}
	p, err := newPipe()
	if err != nil {
		return nil // too many files for now
	}
	return p
}

// put takes an empty pipe back.
func (ps *pipes) put(p *pipe) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.refused || len(ps.free) >= runtime.GOMAXPROCS(0) {
		p.close()
		return
	}
	ps.free = append(ps.free, p)
}

// close closes the pipes; give copies from then on.
func (ps *pipes) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.refused = true
	for _, p := range ps.free {
		p.close()
	}
	ps.free = nil
}

func newPipe() (*pipe, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &pipe{r: ends[0], w: ends[1]}
	var err error
	if p.null, err = unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0); err != nil {
		_, _ = unix.Close(p.r), unix.Close(p.w)
		return nil, os.NewSyscallError("open", err)
	}
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeBytes) // a smaller one serves as well
	return p, nil
}

func (p *pipe) close() {
	for _, fd := range []int{p.r, p.w, p.null} {
		_ = unix.Close(fd)
	}
}

// fill puts pages of b into the empty pipe and returns how many bytes.
func (p *pipe) fill(b []byte) (int, error) {
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(min(len(b), pipeBytes))
	for {
		n, err := unix.Vmsplice(p.w, []unix.Iovec{iov}, unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return n, os.NewSyscallError("vmsplice", err)
		}
	}
}

// empty moves n bytes from the pipe to a socket, or as many as it takes without waiting.
func (p *pipe) empty(fd, n int) (moved int, err error) {
	for moved < n {
		m, err := unix.Splice(p.r, nil, fd, nil, n-moved, unix.SPLICE_F_NONBLOCK)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), err == nil && m == 0:
			return moved, nil
		case err != nil:
			return moved, os.NewSyscallError("splice", err)
		default:
			moved += int(m)
		}
	}
	return moved, nil
}

// drain drops the n bytes that are left in the pipe.
func (p *pipe) drain(n int) error {
	moved, err := p.empty(p.null, n)
	if err == nil && moved < n {
		err = unix.EAGAIN
	}
	return err
}
