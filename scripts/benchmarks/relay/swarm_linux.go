package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sys/unix"
)

// readBytes is how much a client reads at once. The kernel discards the bytes of bodies, because a client on another machine
// would not cost the server's processors a copy either.
const readBytes = 1 << 20

// wakeBytes is how many bytes of a body wake a client that is alone on its thread, so that the processors, which servers and
// clients share, do not spend their time on wake-ups. A thread with many clients hardly sleeps, and there wakeBytes
// would cost nginx a third of its throughput: such clients do not use it.
const wakeBytes = 256 << 10

// warmUp is the time between the first bytes of the last client and the begin of a window.
const warmUp = 500 * time.Millisecond

// run pulls as cfg says.
func (cfg swarm) run(ctx context.Context) (haul, error) {
	addr, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil {
		return haul{}, err
	}
	var total tally
	total.counting.Store(cfg.Window == 0)
	start := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := pool.New().WithContext(ctx).WithCancelOnError()
	for i := range swarmThreads {
		clients := cfg.Clients / swarmThreads
		if i < cfg.Clients%swarmThreads {
			clients++
		}
		if clients > 0 {
			p.Go(func(ctx context.Context) error { return cfg.thread(ctx, addr, clients, &total) })
		}
	}
	if cfg.Window > 0 {
		p.Go(func(ctx context.Context) error {
			defer stop()
			for total.served.Load() < int64(cfg.Clients) {
				if err := pause(ctx, 10*time.Millisecond); err != nil {
					return err
				}
			}
			if err := pause(ctx, warmUp); err != nil {
				return err
			}
			total.counting.Store(true)
			start = time.Now()
			err := pause(ctx, cfg.Window)
			total.counting.Store(false)
			total.took = time.Since(start)
			return err
		})
	}
	if cfg.Stop > 0 {
		p.Go(func(ctx context.Context) error {
			defer stop()
			for total.stopped.Load() < int64(cfg.Clients) {
				if err := pause(ctx, 10*time.Millisecond); err != nil {
					return err
				}
			}
			return pause(ctx, cfg.Hold)
		})
	}
	err = p.Wait()
	if cfg.Window == 0 {
		total.took = time.Since(start)
	}
	return haul{Bytes: total.bytes.Load(), Nanoseconds: int64(total.took), Whole: total.whole.Load()}, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tally is the counts of all threads.
type tally struct {
	counting      atomic.Bool
	bytes         atomic.Int64
	served, whole atomic.Int64 // clients that received their first bytes; whole answers
	stopped       atomic.Int64 // clients that have read Stop bytes
	took          time.Duration
}

// conn is one client.
type conn struct {
	left   int64 // of the answer's body; 0 while the client waits for a header
	read   int64 // in all
	served bool
	wake   int // set with SO_RCVLOWAT, if not 0
}

// setWake sets how many bytes wake the client.
func (c *conn) setWake(fd int) error {
	wake := 1
	if c.left >= wakeBytes {
		wake = wakeBytes
	}
	if wake == c.wake {
		return nil
	}
	c.wake = wake
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, wake)
}

// thread runs clients on one goroutine with one epoll.
func (cfg swarm) thread(ctx context.Context, addr netip.AddrPort, clients int, total *tally) (err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(poll)
	conns := make(map[int32]*conn, clients)
	defer func() {
		for fd := range conns {
			_ = unix.Close(int(fd))
		}
	}()
	for range clients {
		fd, err := cfg.dial(addr)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", addr, err)
		}
		conns[int32(fd)] = new(conn)
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	events, buf := make([]unix.EpollEvent, 64), make([]byte, readBytes)
	for len(conns) > 0 {
		if ctx.Err() != nil {
			if cfg.Window > 0 || cfg.Stop > 0 {
				return nil
			}
			return ctx.Err()
		}
		n, err := unix.EpollWait(poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			c := conns[e.Fd]
			done, err := cfg.receive(int(e.Fd), c, buf, total)
			if err != nil {
				return err
			}
			if cfg.Stop > 0 && c.read >= cfg.Stop {
				total.stopped.Add(1)
				if err := unix.EpollCtl(poll, unix.EPOLL_CTL_DEL, int(e.Fd), nil); err != nil {
					return err
				}
			}
			if done {
				_ = unix.Close(int(e.Fd))
				delete(conns, e.Fd)
			}
		}
	}
	return nil
}

func (cfg swarm) dial(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = cfg.ask(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

func (cfg swarm) ask(fd int) error {
	_, err := unix.Write(fd, []byte("GET "+cfg.Path+" HTTP/1.1\r\nHost: bench\r\n\r\n"))
	return err
}

// receive reads once. done reports that the client has the whole answer.
func (cfg swarm) receive(fd int, c *conn, buf []byte, total *tally) (done bool, err error) {
	var n int
	if c.left > 0 {
		n, _, err = unix.Recvfrom(fd, buf[:min(int64(len(buf)), c.left)], unix.MSG_TRUNC) // discards: see tcp(7)
	} else {
		n, err = unix.Read(fd, buf)
	}
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read from %s: %w", cfg.Addr, err)
	case n == 0:
		return false, fmt.Errorf("%s closed a connection, %d bytes before the end of its answer", cfg.Addr, c.left)
	}
	got := buf[:n]
	if c.left == 0 {
		if got, err = cfg.header(c, got); err != nil {
			return false, err
		}
		if !c.served {
			c.served = true
			total.served.Add(1)
		}
	}
	c.left -= int64(len(got))
	c.read += int64(len(got))
	if cfg.Clients <= swarmThreads {
		if err := c.setWake(fd); err != nil {
			return false, err
		}
	}
	if total.counting.Load() {
		total.bytes.Add(int64(len(got)))
	}
	if c.left > 0 {
		return false, nil
	}
	total.whole.Add(1)
	if cfg.Window > 0 {
		return false, cfg.ask(fd)
	}
	return true, nil
}

// header reads the header of an answer, which every server here sends in one piece, and returns the bytes after it.
func (cfg swarm) header(c *conn, got []byte) ([]byte, error) {
	head, body, ok := bytes.Cut(got, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("%s answered %.300q", cfg.Addr, got)
	}
	_, length, _ := bytes.Cut(head, []byte("Content-Length: "))
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	n, err := strconv.ParseInt(string(length), 10, 64)
	if err != nil || n != cfg.Bytes {
		return nil, fmt.Errorf("%s sends %q bytes, want %d", cfg.Addr, length, cfg.Bytes)
	}
	c.left = n
	return body, nil
}
