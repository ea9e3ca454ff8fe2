package resp

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// runStreams serves each connection on two goroutines. It is the transport of systems without epoll.
func runStreams(ctx context.Context, p *Port, conns <-chan *net.TCPConn) error {
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.clock.Store(int64(time.Since(p.started) / time.Second))
		case tcp := <-conns:
			s := &stream{port: p, tcp: tcp, woken: make(chan struct{}, 1), executor: newExecutor(p)}
			s.wake = func() {
				if s.slow { // push may wait for the client: only the end of the connection wakes it
					_ = s.tcp.Close()
				}
				select {
				case s.woken <- struct{}{}:
				default:
				}
			}
			p.attach(&s.conn, tcp.RemoteAddr(), tcp.LocalAddr())
			all.Go(func() { s.run(ctx) })
		}
	}
}

// stream is a connection with its own goroutines.
type stream struct {
	conn
	port  *Port
	tcp   *net.TCPConn
	woken chan struct{} // of size 1: something was pushed

	turn     sync.Mutex // held while commands are executed and bytes are sent: what is pushed follows the replies
	executor executor
	in, out  []byte
}

// run serves the connection until it or ctx ends.
func (s *stream) run(ctx context.Context) {
	defer func() {
		if reason := recover(); reason != nil {
			s.port.panicked(reason)
		}
		_ = s.tcp.Close()
		s.port.detach(&s.conn)
	}()
	ctx, cancel := context.WithCancel(ctx)
	var pushes sync.WaitGroup
	defer pushes.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.tcp.Close() })()
	pushes.Go(func() { s.push(ctx) })
	buffer := make([]byte, 16<<10)
	for {
		why, within := s.patience()
		deadline := time.Time{}
		if within > 0 {
			deadline = time.Now().Add(within)
		}
		_ = s.tcp.SetReadDeadline(deadline)
		n, err := s.tcp.Read(buffer)
		if err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				s.port.metrics.cut[why].Add(1)
			}
			return
		}
		s.port.metrics.received.Add(uint64(n))
		s.last.Store(s.port.clock.Load())
		if !s.serve(ctx, buffer[:n]) {
			return
		}
	}
}

// patience returns how long the client may send nothing, and what it is cut for then; 0 means no bound.
func (s *stream) patience() (why cut, within time.Duration) {
	switch {
	case !s.authed:
		return cutStranger, time.Second * time.Duration(max(1, authAfter-(s.port.clock.Load()-s.began)))
	case len(s.in) > 0:
		return cutHalf, halfAfter * time.Second
	}
	return cutIdle, s.port.cfg.Idle
}

// serve executes the commands that have arrived, and waits for those that wait. It returns false if the connection is to be closed.
func (s *stream) serve(ctx context.Context, arrived []byte) bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.in = append(s.in, arrived...)
	in := s.in
	for {
		if w := s.wait; w != nil {
			s.turn.Unlock() // for pushes
			select {
			case <-w.done:
			case <-ctx.Done():
			}
			s.turn.Lock()
			if ctx.Err() != nil {
				return false
			}
		}
		in, s.out = s.executor.run(&s.conn, in, s.out[:0])
		more := s.executor.more(s.out)
		if !s.send(len(in)) {
			return false
		}
		if (!more || s.closing) && s.wait == nil {
			break
		}
	}
	s.in = append(s.in[:0], in...)
	return !s.closing && s.port.keep(&s.conn, len(s.in))
}

// send sends s.out and what was pushed. It returns false if the connection is to be closed. kept is the number of bytes of input that are kept.
func (s *stream) send(kept int) bool {
	out, ok := s.takePushed(s.out)
	if s.out = out; !ok {
		return false
	}
	if len(out) == 0 {
		return true
	}
	if !s.port.keep(&s.conn, kept+len(out)) {
		s.port.metrics.cut[cutOutput].Add(1)
		return false
	}
	defer s.port.keep(&s.conn, kept)
	if cap(out) > 4*flushAt {
		s.out = nil
	}
	for chunk := range slices.Chunk(out, flushAt) {
		_ = s.tcp.SetWriteDeadline(time.Now().Add(stallAfter * time.Second))
		n, err := s.tcp.Write(chunk)
		s.port.metrics.sent.Add(uint64(n))
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			s.port.metrics.cut[cutStalled].Add(1)
		}
		if err != nil {
			return false
		}
	}
	return true
}

// push sends what is pushed while no command arrives.
func (s *stream) push(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.woken:
		}
		s.turn.Lock()
		s.out = s.out[:0]
		ok := s.send(len(s.in))
		s.turn.Unlock()
		if !ok {
			_ = s.tcp.Close()
			return
		}
	}
}
