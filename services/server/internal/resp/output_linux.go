package resp

// send writes out and keeps what the socket does not take. It returns false if it closed the connection.
func (l *loop) send(s *socket, out []byte) bool {
	sent := 0
	for sent < len(out) {
		n, again, err := writeSocket(s.fd, out[sent:min(len(out), sent+writeBytes)])
		if err != nil {
			l.close(s)
			return false
		}
		if again {
			break
		}
		sent += n
		l.port.metrics.sent.Add(uint64(n))
	}
	if sent == len(out) {
		if cap(l.out) > 4*flushAt {
			l.out = nil
		}
		return true
	}
	if !l.port.keep(&s.conn, len(out)-sent) {
		l.cut(s, cutOutput)
		return false
	}
	s.out = out[sent:]
	l.out = nil // its memory is s.out now
	s.since = l.port.clock.Load() + 1
	return l.watch(s, writable)
}

// flush writes replies that the socket has not taken yet. When all are sent, the connection's commands are executed again.
func (l *loop) flush(s *socket) {
	n, again, err := writeSocket(s.fd, s.out[:min(len(s.out), writeBytes)])
	switch {
	case err != nil:
		l.close(s)
		return
	case again:
		return
	}
	l.port.metrics.sent.Add(uint64(n))
	s.out, s.since = s.out[n:], l.port.clock.Load()+1
	l.port.keep(&s.conn, len(s.out))
	if len(s.out) > 0 {
		return
	}
	s.out, s.since = nil, 0
	if l.watch(s, readable) {
		l.serve(s, s.in)
	}
}
