package tracking

import (
	"bytes"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
)

// Session is what one client tracks. Its exported methods are for one goroutine at a time, that of the client's commands.
type Session struct {
	t      *Tracker
	client Client

	on    atomic.Bool
	watch atomic.Pointer[watch] // nil unless on and without BCAST
	gone  atomic.Bool           // the client takes no pushes any more

	// The fields below belong to the client's goroutine.
	options  options
	prefixes []string
	caching  bool // by CLIENT CACHING, for one command
}

// Tracking reports whether the client tracks keys or prefixes. It is one atomic load.
func (s *Session) Tracking() bool { return s.on.Load() }

// Read records that the running command reads the key (dataset:key). The port must call Read before it loads the pointer to the table that
// it reads. The key is not kept.
func (s *Session) Read(key []byte) {
	if !s.on.Load() || s.options.bcast || s.options.optin && !s.caching || s.options.optout && s.caching {
		return
	}
	colon := bytes.IndexByte(key, ':')
	if n := len(key) - colon - 1; colon < 0 || n < 1 || n > dataset.MaxKeyBytes {
		return // no version can have the key
	}
	d := s.t.datasets[string(key[:colon])]
	if d == nil {
		return
	}
	s.record(d, key[colon+1:], s.watch.Load())
}

// record records the key of a record under w, the present watch, or under the next ones if w ends in the meantime.
func (s *Session) record(d *keys, key []byte, w *watch) {
	for s.t.add(d, key, w); w.ended.Load(); s.t.add(d, key, w) {
		w = s.watch.Load()
	}
}

// Executed must be called after each command other than CLIENT. It ends the effect of CLIENT CACHING, and tracking if the client now speaks
// RESP2, in which it cannot have invalidations.
func (s *Session) Executed() {
	s.caching = false
	if s.on.Load() && s.client.Protocol() < 3 {
		s.off()
	}
}

// Close ends the session. Nothing is pushed to the client afterwards, except by a push in progress. Close must be the last call.
func (s *Session) Close() {
	s.gone.Store(true)
	s.off()
}

// off ends tracking. The keys are forgotten later; see the package comment.
func (s *Session) off() {
	if !s.on.Swap(false) {
		return
	}
	for _, p := range s.prefixes {
		s.t.unsubscribe(s, p)
	}
	s.prefixes, s.options, s.caching = nil, options{}, false
	s.t.active.Add(-1)
	if w := s.watch.Swap(nil); w != nil {
		s.t.end(w)
	}
}

// deliver sends m. A client that does not take it gets nothing more: its connection ends.
func (s *Session) deliver(m *message) {
	if !s.on.Load() || s.gone.Load() {
		return
	}
	if !s.client.Push(m.push()) {
		s.gone.Store(true)
		return
	}
	if m.n == 0 {
		s.t.counts.flushes.Add(1)
	} else {
		s.t.counts.invalidations.Add(int64(m.n))
	}
}

// watch is one period of a session's tracking without BCAST: from CLIENT TRACKING ON or a flush to the next flush, OFF or the end of the
// connection.
type watch struct {
	s     *Session
	n     atomic.Int64 // tracked keys
	ended atomic.Bool
}

// deliver sends m, unless w has ended.
func (w *watch) deliver(m *message) {
	if !w.ended.Load() {
		w.s.deliver(m)
	}
}

// flush ends w, begins another watch of the session, and sends a flush; nothing of this if w has ended.
func (w *watch) flush() {
	if w.s.watch.CompareAndSwap(w, &watch{s: w.s}) {
		w.s.t.end(w)
		w.s.deliver(&message{})
	}
}
