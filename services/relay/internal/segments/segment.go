package segments

import "sync/atomic"

// Segment is a part of an object in memory. It must be released once.
type Segment struct {
	bytes  []byte // the first of the buffer's
	refs   atomic.Int32
	arena  *arena
	buffer buffer
}

// Bytes returns the segment's bytes, which must not be written to, nor used after Release.
func (s *Segment) Bytes() []byte { return s.bytes }

// Release gives the caller's reference back.
func (s *Segment) Release() { s.add(-1) }

// acquire takes one more reference. It fails if the last one is gone, because the buffer may be another segment's by
// now.
func (s *Segment) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// add changes the number of references by n, the caller holding at least one, or -n of them.
func (s *Segment) add(n int) {
	switch left := s.refs.Add(int32(n)); {
	case left == 0:
		s.arena.put(s.buffer)
	case left < 0:
		panic("a segment was released twice")
	}
}
