package segments

import (
	"container/list"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
)

// spare is what the windows of convoys left behind, kept while nobody else needs the buffers, so that those who come
// when a convoy has gone, as the next wave of a storm does, do not have all of a large object read again.
//
// Convoys pass through an object from its beginning to its end, again and again, and there what was used last is needed
// last. So that goes first when a buffer is needed, and what comes when there is no room is not kept, but in the place of
// what nobody has used for longer than its convoy took.
type spare struct {
	room func() bool // reports whether there are free buffers to spare

	mu    sync.Mutex // guards what follows
	used  *list.List // of *spared, those used last in front
	place map[place]*list.Element
}

// spared is a segment with a reference of the spare's.
type spared struct {
	place   place
	segment *Segment
	used    time.Time
}

func newSpare(room func() bool) *spare {
	return &spare{room: room, used: list.New(), place: make(map[place]*list.Element)}
}

// put keeps a segment that a convoy begun at the given time has left behind, or releases it.
func (s *spare) put(p place, segment *Segment, begun time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.place[p]; ok {
		segment.Release()
		return
	}
	if !s.room() {
		last := s.used.Back()
		if last == nil || !last.Value.(*spared).used.Before(begun) {
			segment.Release()
			return
		}
		s.remove(last)
	}
	s.place[p] = s.used.PushFront(&spared{p, segment, time.Now()})
}

// get returns the segment with a reference for the caller, or nil.
func (s *spare) get(p place) *Segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.place[p]
	if !ok {
		return nil
	}
	at := e.Value.(*spared)
	at.used = time.Now()
	s.used.MoveToFront(e)
	at.segment.add(1)
	return at.segment
}

func (s *spare) has(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.place[p]
	return ok
}

// shed lets go of segments until n buffers are free or none is left, and returns how many are free.
func (s *spare) shed(n int) (free int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for free < n && s.used.Len() > 0 {
		first := s.used.Front()
		if first.Value.(*spared).segment.refs.Load() == 1 { // the spare's own
			free++
		}
		s.remove(first)
	}
	return free
}

// drop lets go of the segments for which gone is true.
func (s *spare) drop(gone func(*spared) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.used.Front(); e != nil; {
		next := e.Next()
		if gone(e.Value.(*spared)) {
			s.remove(e)
		}
		e = next
	}
}

// expire lets go of what was not used since the given time.
func (s *spare) expire(since time.Time) {
	s.drop(func(at *spared) bool { return at.used.Before(since) })
}

// forget lets go of the object's segments.
func (s *spare) forget(digest dataset.Digest, size int64) {
	s.drop(func(at *spared) bool { return at.place.digest == digest && at.place.size == size })
}

// close lets go of all.
func (s *spare) close() { s.drop(func(*spared) bool { return true }) }

func (s *spare) remove(e *list.Element) {
	at := s.used.Remove(e).(*spared)
	delete(s.place, at.place)
	at.segment.Release()
}
