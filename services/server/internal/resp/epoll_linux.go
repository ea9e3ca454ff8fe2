package resp

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits for events of file descriptors with epoll.
//
// A goroutine that blocks in a system call keeps its processor until the runtime takes it away, which takes up to 10 ms: with few processors
// that delays lookups over HTTP. So the goroutine of a poller parks in the runtime's own poller, which waits for the gate, another epoll. The gate
// is armed for one event while the goroutine parks, and closed otherwise: events under load wake only the goroutine that handles them.
type poller struct {
	epoll  int
	gate   *os.File
	raw    syscall.RawConn
	wake   int // an eventfd
	events [256]unix.EpollEvent
}

func newPoller() (_ *poller, err error) {
	p := &poller{epoll: -1, wake: -1}
	defer func() {
		if err != nil {
			p.close()
			err = fmt.Errorf("wait for clients of Redis' protocol with epoll: %w", err)
		}
	}()
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	if err = p.add(p.wake); err != nil {
		return nil, err
	}
	gate, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(gate, true) // os.NewFile asks for this flag, and then the runtime's poller
	p.gate = os.NewFile(uintptr(gate), "epoll")
	if p.raw, err = p.gate.SyscallConn(); err != nil {
		return nil, err
	}
	return p, unix.EpollCtl(gate, unix.EPOLL_CTL_ADD, p.epoll, &unix.EpollEvent{Events: unix.EPOLLONESHOT})
}

func (p *poller) close() {
	if p.gate != nil {
		_ = p.gate.Close()
	}
	for _, fd := range []int{p.wake, p.epoll} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

const (
	readable = unix.EPOLLIN
	writable = unix.EPOLLOUT
	hangup   = unix.EPOLLRDHUP // the client will send nothing more
	broken   = unix.EPOLLERR | unix.EPOLLHUP
)

// add watches fd for input.
func (p *poller) add(fd int) error { return p.control(unix.EPOLL_CTL_ADD, fd, readable) }

// change watches fd for the events.
func (p *poller) change(fd int, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, events)
}

func (p *poller) control(op, fd int, events uint32) error {
	return unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// notify wakes the goroutine that waits.
func (p *poller) notify() {
	one := [8]byte{0: 1, 7: 1} // at least 1 in either byte order
	_, _ = unix.Write(p.wake, one[:])
}

// notified forgets notifications.
func (p *poller) notified() {
	var b [8]byte
	_, _ = unix.Read(p.wake, b[:])
}

// poll returns the events that are there, without waiting.
func (p *poller) poll() []unix.EpollEvent { return p.events[:epollWait(p.epoll, p.events[:])] }

// wait parks the goroutine until there are events.
func (p *poller) wait() error {
	// Arming the gate also tells about events that came since the last poll.
	gate := -1
	err := p.raw.Read(func(fd uintptr) bool {
		if gate < 0 {
			gate = int(fd)
			e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
			if unix.EpollCtl(gate, unix.EPOLL_CTL_MOD, p.epoll, &e) != nil {
				return true // never: poll again
			}
		}
		var one [1]unix.EpollEvent
		return epollWait(gate, one[:]) > 0
	})
	if err != nil {
		return fmt.Errorf("wait for clients of Redis' protocol: %w", err)
	}
	return nil
}

// The system calls below never block, so the runtime need not know of them. This saves a tenth of a microsecond each.

// epollWait fills events with those that are there and returns their number.
func epollWait(epoll int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // EINTR: the next call returns them
	}
	return int(n)
}

// readSocket reads into b, which is not empty. again is true if nothing has arrived.
func readSocket(fd int, b []byte) (n int, again bool, err error) {
	return transfer(unix.SYS_READ, fd, b)
}

// writeSocket writes b, which is not empty. again is true if the socket takes nothing now.
func writeSocket(fd int, b []byte) (n int, again bool, err error) {
	return transfer(unix.SYS_WRITE, fd, b)
}

func transfer(call uintptr, fd int, b []byte) (n int, again bool, err error) {
	for {
		r, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(r), false, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, errno
		}
	}
}
