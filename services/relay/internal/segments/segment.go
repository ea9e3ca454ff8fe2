package segments

import (
	"context"
	"sync/atomic"
)

// Segment is a part of an object in memory. Each reference must be released once.
type Segment struct {
	bytes  []byte
	arena  *arena
	buffer buffer // that bytes are the first of; empty until the fill has one
	refs   atomic.Int32

	filled chan struct{} // closed once bytes are read, or err is set
	err    error         // why the fill failed
}

// Bytes returns the segment's bytes. They must not be written to, nor used after Release.
func (s *Segment) Bytes() []byte { return s.bytes }

// Release gives up the caller's reference.
func (s *Segment) Release() {
	switch left := s.refs.Add(-1); {
	case left == 0 && s.buffer.bytes != nil:
		s.arena.put(s.buffer)
	case left < 0:
		panic("a segment was released twice")
	}
}

// acquire adds a reference. It fails after the last release, when the buffer may already belong to another segment.
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

// wait waits until the segment is filled, or ctx ends.
func (s *Segment) wait(ctx context.Context) error {
	select {
	case <-s.filled:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
