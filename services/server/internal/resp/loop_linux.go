package resp

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// transport serves connections.
var transport = runLoops

const (
	// inputBytes is how much is read from a connection at a time.
	inputBytes = 64 << 10
	// writeBytes is the most that one system call writes, for the sake of the other connections of the loop.
	writeBytes = 256 << 10
	// keepBytes is the largest buffer that an idle connection keeps.
	keepBytes = 4 << 10
	// turnRounds is how many times a connection's replies may be flushed before it is the turn of the others.
	turnRounds = 4
)

// runLoops serves the connections on one loop for each two processors: the others are for lookups over HTTP and for refreshes.
func runLoops(ctx context.Context, p *Port, conns <-chan *net.TCPConn) error {
	loops := make([]*loop, max(1, runtime.GOMAXPROCS(0)/2))
	for i := range loops {
		l, err := newLoop(p)
		if err != nil {
			for _, l := range loops[:i] {
				l.poller.close()
			}
			return err
		}
		loops[i] = l
	}
	ended := make(chan error, len(loops))
	var all sync.WaitGroup
	for _, l := range loops {
		all.Go(func() { ended <- l.run() })
	}
	defer func() {
		for _, l := range loops {
			l.tell(func() { l.stopping = true })
		}
		all.Wait()
		for _, l := range loops {
			l.end()
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case <-tick.C:
			p.clock.Store(int64(time.Since(p.started) / time.Second))
			for _, l := range loops {
				l.tell(func() { l.sweep = true })
			}
		case tcp := <-conns:
			l := loops[next%len(loops)]
			next++
			s, err := newSocket(tcp)
			if err != nil {
				p.log.WarnContext(ctx, "cannot serve a client of Redis' protocol", "error", err)
				continue
			}
			s.loop = l
			s.wake = func() { l.tell(func() { l.woken = append(l.woken, s) }) }
			p.attach(&s.conn, tcp.RemoteAddr(), tcp.LocalAddr())
			l.tell(func() { l.added = append(l.added, s) })
		}
	}
}

// socket is a connection of a loop.
type socket struct {
	conn
	loop *loop
	fd   int
	// in is input that no complete command has been made of, out replies that the socket has not taken.
	in, out []byte
	// since is when the socket took something of out last, in seconds of the port's clock and plus 1; 0 if out is empty.
	since   int64
	watched uint32 // events that the poller watches
	queued  bool   // in loop.backlog
	closed  bool
}

// newSocket takes over the connection, which the runtime's poller would also watch.
func newSocket(tcp *net.TCPConn) (*socket, error) {
	defer tcp.Close() //nolint:errcheck // its duplicate lives on
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1}
	var failed error
	if err := raw.Control(func(fd uintptr) { s.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	return s, failed
}

// loop serves connections on one goroutine.
type loop struct {
	port     *Port
	poller   *poller
	executor executor
	sockets  map[int32]*socket // by file descriptor
	in, out  []byte            // of the connection whose turn it is
	backlog  []*socket         // connections with commands to execute

	mu           sync.Mutex
	told         bool      // guarded by mu: the poller was notified
	stopping     bool      // guarded by mu
	sweep        bool      // guarded by mu
	added, woken []*socket // guarded by mu
}

func newLoop(p *Port) (*loop, error) {
	poller, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{port: p, poller: poller, executor: newExecutor(p), sockets: make(map[int32]*socket), in: make([]byte, inputBytes)}, nil
}

// tell calls change, which changes fields that mu guards, and wakes the loop.
func (l *loop) tell(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	if !l.told {
		l.told = true
		l.poller.notify()
	}
}

// run serves until the loop is to stop.
func (l *loop) run() error {
	for {
		events := l.poller.poll()
		if len(events) == 0 && len(l.backlog) == 0 {
			if err := l.poller.wait(); err != nil {
				return err
			}
			continue
		}
		told := false
		for i := range events {
			e := &events[i]
			if int(e.Fd) == l.poller.wake {
				told = true
			} else if s := l.sockets[e.Fd]; s != nil {
				l.event(s, e.Events)
			}
		}
		backlog := l.backlog
		l.backlog = nil
		for _, s := range backlog {
			if s.queued = false; !s.closed {
				l.serve(s, s.in)
			}
		}
		// After the events: a new connection may have the descriptor of one that was closed.
		if told && l.listen() {
			return nil
		}
		runtime.Gosched() // with one processor, others must run although there are always events
	}
}

// recovered is deferred. A panic ends the connection alone.
func (l *loop) recovered(s *socket) {
	if reason := recover(); reason != nil {
		l.port.panicked(reason)
		l.executor.release()
		l.close(s)
	}
}

func (l *loop) event(s *socket, events uint32) {
	switch {
	case events&(broken|hangup) != 0:
		l.close(s)
	case len(s.out) > 0:
		if events&writable != 0 {
			l.flush(s)
		}
	case !s.queued:
		l.read(s)
	}
}

// read reads what has arrived and serves it.
func (l *loop) read(s *socket) {
	n, again, err := readSocket(s.fd, l.in)
	switch {
	case again:
		return
	case err != nil || n == 0:
		// The replies to all that the client has sent are on their way.
		l.close(s)
		return
	}
	l.port.metrics.received.Add(uint64(n))
	s.last.Store(l.port.clock.Load())
	if len(s.in) > 0 {
		s.in = append(s.in, l.in[:n]...)
		l.serve(s, s.in)
		return
	}
	l.serve(s, l.in[:n])
}

// serve executes the commands in in, and sends their replies and what was pushed.
func (l *loop) serve(s *socket, in []byte) {
	defer l.recovered(s)
	for round := 0; ; round++ {
		if round == turnRounds {
			l.backlog, s.queued = append(l.backlog, s), true
			break
		}
		out := l.out[:0]
		in, out = l.executor.run(&s.conn, in, out)
		more := l.executor.more(out)
		out, ok := s.takePushed(out)
		if !ok {
			l.close(s)
			return
		}
		l.out = out
		if len(out) > 0 && !l.send(s, out) {
			return
		}
		if !more || len(s.out) > 0 || s.closing {
			break
		}
		if l.executor.work >= turnWork {
			round = turnRounds - 1
		}
	}
	if s.closing && len(s.out) == 0 {
		l.close(s)
		return
	}
	if l.keepInput(s, in) && len(s.out) == 0 {
		events := uint32(readable)
		if s.wait != nil {
			events = hangup // what it sends waits in the socket
		}
		l.watch(s, events)
	}
}

// watch makes the poller watch the events of s. It returns false if it closed the connection.
func (l *loop) watch(s *socket, events uint32) bool {
	if events == s.watched {
		return true
	}
	if err := l.poller.change(s.fd, events); err != nil {
		l.close(s)
		return false
	}
	s.watched = events
	return true
}

// keepInput keeps the rest of the input for the next turn. It returns false if it closed the connection.
func (l *loop) keepInput(s *socket, in []byte) bool {
	if len(in) == 0 && cap(s.in) > keepBytes {
		s.in = nil
	} else {
		s.in = append(s.in[:0], in...)
	}
	if !l.port.keep(&s.conn, len(s.in)+len(s.out)) {
		l.cut(s, cutOutput)
		return false
	}
	return true
}

// listen handles what tell has changed. listen returns true if the loop is to stop.
func (l *loop) listen() (stop bool) {
	l.poller.notified()
	l.mu.Lock()
	added, woken, sweep, stop := l.added, l.woken, l.sweep, l.stopping
	l.added, l.woken, l.sweep, l.told = nil, nil, false, false
	l.mu.Unlock()
	for _, s := range added {
		if err := l.poller.add(s.fd); err != nil {
			l.port.log.Warn("cannot serve a client of Redis' protocol", "error", fmt.Errorf("watch it with epoll: %w", err))
			l.close(s)
			continue
		}
		l.sockets[int32(s.fd)], s.watched = s, readable
	}
	for _, s := range woken {
		switch {
		case s.closed:
		case s.tooSlow():
			l.close(s)
		case !s.queued && len(s.out) == 0:
			l.serve(s, s.in)
		}
	}
	if sweep {
		for _, s := range l.sockets {
			if s.wait != nil && s.since == 0 {
				continue // its wait is bounded
			}
			if why, ok := l.port.expired(&s.conn, s.since, len(s.in) > 0 && !s.queued); ok {
				l.cut(s, why)
			}
		}
	}
	return stop
}

func (l *loop) cut(s *socket, why cut) {
	l.port.metrics.cut[why].Add(1)
	l.close(s)
}

func (l *loop) close(s *socket) {
	if s.closed {
		return
	}
	s.closed = true
	delete(l.sockets, int32(s.fd))
	_ = unix.Close(s.fd)
	s.in, s.out = nil, nil
	l.port.detach(&s.conn)
}

// end closes all connections, after run.
func (l *loop) end() {
	l.mu.Lock()
	added := l.added
	l.added, l.told = nil, true // the poller is not notified any more
	l.mu.Unlock()
	for _, s := range added {
		l.close(s)
	}
	for _, s := range l.sockets {
		l.close(s)
	}
	l.poller.close()
}
