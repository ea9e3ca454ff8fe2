package segments

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
)

const (
	// maxScans is the largest number of scans that readers may join. Their windows take half of the buffers.
	maxScans = 4
	// gatherTime is how long a scan stays at its first window, so that readers that start at about the same time join it.
	gatherTime = 250 * time.Millisecond
	// followTime replaces gatherTime while another scan of the object is further on. When a relay admits as many responses
	// as end, readers start one by one; they gather in the next scan. Instances time out after 20 s without a byte.
	followTime = 5 * time.Second
	// patience is how long a scan waits for its last reader to read a quarter of the window.
	patience = 2 * time.Second
)

// scans are the shared scans of objects that are too large for the cache. A scan reads an object once, from its first
// reader's segment on, into a window that moves on with its readers. A reader whose segment is in no window starts the
// next scan, which gathers readers at its first window.
type scans struct {
	cache    *Cache
	width    int64 // segments of a window
	run      int64 // segments of one read of the origin
	expelled atomic.Int64

	mu     sync.Mutex // guards what follows, every scan, and every reader's scan, at and expelled
	list   []*scan    // that readers may join
	closed bool
}

type scan struct {
	set     *scans
	digest  dataset.Digest
	size    int64
	begun   time.Time
	start   int64  // index of the segment where the scan began
	first   int64  // index of the first segment of the window
	next    int64  // index of the segment that is read next
	front   int64  // the largest index that a reader requested
	end     int64  // index behind the last segment that a reader will request
	window  []slot // a ring: segment i is at i modulo its length
	readers map[*Reader]struct{}
	failed  bool          // the last read failed, and no reader has requested its segments since
	waiters *waiters      // the readers that wait for a segment now
	moved   chan struct{} // of size 1: not empty when the scan must check again
}

// waiters are readers that wait for the same signal of a scan.
type waiters struct {
	done chan struct{} // closed when they must check again, or return err
	err  error         // of the read that they waited for
}

func newWaiters() *waiters { return &waiters{done: make(chan struct{})} }

// slot is the place of one segment in a window.
type slot struct {
	segment *Segment // with a reference of the scan's; nil if it is not read yet
	readers int      // that are at this segment and were not expelled before
}

// join adds the reader to a scan whose window contains segment index, or to a new one. If there are too many scans, the new
// one replaces the oldest scan of a single reader, because that shares nothing, unless it still gathers readers. If there is
// none, or the reader was expelled before and can only join a scan, it stays without one.
func (ss *scans) join(r *Reader, index int64) {
	var single *scan
	for _, s := range ss.list {
		if s.of(r.digest, r.size) && s.first <= index && index < s.first+ss.width {
			s.add(r, index)
			return
		}
		if single == nil && len(s.readers) == 1 && (s.first > s.start || time.Since(s.begun) >= gatherTime) {
			single = s
		}
	}
	if r.expelled || ss.closed {
		return
	}
	if len(ss.list) == maxScans && single != nil {
		single.expel(math.MaxInt64)
	}
	if len(ss.list) == maxScans {
		return
	}
	s := &scan{
		set: ss, digest: r.digest, size: r.size, begun: time.Now(), start: index, first: index, next: index,
		window:  make([]slot, ss.width+1), // the last one is for readers that wait for the window to move
		readers: make(map[*Reader]struct{}), waiters: newWaiters(), moved: make(chan struct{}, 1),
	}
	ss.list = append(ss.list, s)
	s.add(r, index)
	ss.cache.fills.Go(s.run)
}

// segment returns segment index, which is the reader's current or its next one; nil if the reader has no scan. waited
// reports that the segment was not in memory.
func (ss *scans) segment(ctx context.Context, r *Reader, index int64) (segment *Segment, waited bool, err error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r.scan != nil && r.at != index {
		r.scan.vacate(r)
		r.scan.add(r, index)
	}
	for {
		if r.scan == nil {
			ss.join(r, index)
		}
		s := r.scan
		if s == nil {
			return nil, waited, nil
		}
		if index < s.next {
			segment = s.slot(index).segment
			segment.acquire()
			return segment, waited, nil
		}
		waited = true
		if s.failed {
			s.failed = false
			s.signal()
		}
		waiters := s.waiters
		ss.mu.Unlock()
		select {
		case <-waiters.done:
			err = waiters.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		ss.mu.Lock()
		if err != nil {
			return nil, waited, err
		}
	}
}

// leave removes the reader from its scan.
func (ss *scans) leave(r *Reader) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r.scan != nil {
		r.scan.remove(r)
	}
}

// forget ends the scans of an object with their windows. Readers that go on join or start another one.
func (ss *scans) forget(digest dataset.Digest, size int64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range slices.Clone(ss.list) {
		if !s.of(digest, size) {
			continue
		}
		for r := range s.readers {
			s.remove(r)
		}
		s.wake(nil)
	}
}

// scanned reports whether a scan of the object at p is in progress.
func (ss *scans) scanned(p place) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.ContainsFunc(ss.list, func(s *scan) bool { return s.of(p.digest, p.size) })
}

// close ends all scans and starts no more.
func (ss *scans) close() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.closed = true
	for len(ss.list) > 0 {
		ss.list[0].expel(math.MaxInt64)
	}
}

func (s *scan) of(digest dataset.Digest, size int64) bool {
	return s.digest == digest && s.size == size
}
func (s *scan) slot(i int64) *slot { return &s.window[i%int64(len(s.window))] }

// run reads segments as long as the scan has readers.
func (s *scan) run() {
	c := s.set.cache
	for n := s.room(c.ctx); n > 0; n = s.room(c.ctx) {
		p := place{s.digest, s.size, s.next}
		kept := c.head.extend(p, n)
		if kept > 0 {
			n = kept
		}
		segments, _, err := c.request(p, s.next+n, kept > 0)
		if err != nil {
			break // the cache is closed
		}
		for _, segment := range segments {
			if err != nil { // of a segment before
				segment.Release()
				continue
			}
			err = segment.wait(c.ctx)
			s.fill(segment, err)
		}
	}
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	s.expel(math.MaxInt64) // there are readers only when the cache is closed
}

// fill adds the next segment to the window, with the caller's reference. The readers that wait now return an error. Other
// readers are not affected: the scan reads the segment again when one of them requests it.
func (s *scan) fill(segment *Segment, err error) {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	if err != nil || len(s.readers) == 0 {
		s.failed = err != nil
		segment.Release()
	} else {
		s.slot(s.next).segment = segment
		s.next++
	}
	s.wake(err)
}

// room waits until the scan is to read more segments, and returns how many. It returns 0 when the scan has no readers, or ctx
// ends.
func (s *scan) room(ctx context.Context) int64 {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	var since time.Time // when the wait for the last reader began
	for len(s.readers) > 0 && ctx.Err() == nil {
		n := min(s.set.run, s.end-s.next)
		var again <-chan time.Time
		// The next run is due when half of what was read ahead is used up.
		if n > 0 && s.next <= s.front+s.set.run/2 && !s.failed {
			if since.IsZero() {
				since = time.Now()
			}
			wait := s.advance(s.next+n-s.set.width, since)
			if wait <= 0 {
				return n
			}
			again = time.After(wait)
		} else {
			since = time.Time{}
		}
		s.set.mu.Unlock()
		select {
		case <-s.moved:
		case <-again:
		case <-ctx.Done():
		}
		s.set.mu.Lock()
	}
	return 0
}

// advance moves the window to begin at segment first or later, or returns how long to wait before it tries again. It waits for
// readers that would leave the window until patience ends, and for readers to join the scan at its first window.
func (s *scan) advance(first int64, since time.Time) (wait time.Duration) {
	if first <= s.first {
		return 0
	}
	if s.first == s.start {
		departs := s.begun.Add(gatherTime)
		for _, other := range s.set.list {
			if other.of(s.digest, s.size) && other.first > s.first {
				departs = s.begun.Add(followTime)
			}
		}
		if wait = time.Until(departs); wait > 0 {
			return wait
		}
		if since.Before(departs) {
			since = departs
		}
	}
	// At least a quarter of the window, or a reader could hold the others to one run per patience.
	first = max(first, min(s.front, s.first+s.set.width/4))
	for i := s.first; i < first; i++ {
		if s.slot(i).readers == 0 {
			continue
		}
		if wait = time.Until(since.Add(patience)); wait > 0 {
			return wait
		}
		break
	}
	s.expel(first - 1)
	s.shift(first)
	return 0
}

// shift moves the window, in which no reader is before segment first, to that segment.
func (s *scan) shift(first int64) {
	for ; s.first < first; s.first++ {
		at := s.slot(s.first)
		at.segment.Release()
		at.segment = nil
	}
}

// wake makes waiting readers check again, or return err.
func (s *scan) wake(err error) {
	s.waiters.err = err
	close(s.waiters.done)
	s.waiters = newWaiters()
}

// signal makes the scan check again.
func (s *scan) signal() {
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

// add adds the reader at segment index.
func (s *scan) add(r *Reader, index int64) {
	r.scan, r.at = s, index
	s.readers[r] = struct{}{}
	if !r.expelled {
		s.slot(index).readers++
	}
	if index > s.front || r.end > s.end {
		s.front, s.end = max(s.front, index), max(s.end, r.end)
		s.signal()
	}
}

// vacate removes the reader from its segment.
func (s *scan) vacate(r *Reader) {
	if r.expelled {
		return
	}
	at := s.slot(r.at)
	if at.readers--; at.readers == 0 && r.at < s.first+max(s.set.run, s.set.width/4) { // the window may move
		s.signal()
	}
}

// expel removes the readers up to segment last. They read on without a scan, or in the window of one that does not
// wait for them.
func (s *scan) expel(last int64) {
	for r := range s.readers {
		if r.at > last {
			continue
		}
		s.remove(r)
		s.wake(nil)
		if !r.expelled {
			r.expelled = true
			s.set.expelled.Add(1)
		}
	}
}

// remove removes the reader. The scan ends with its last one.
func (s *scan) remove(r *Reader) {
	r.scan = nil
	delete(s.readers, r)
	s.vacate(r)
	s.front = 0
	for other := range s.readers {
		s.front = max(s.front, other.at)
	}
	if len(s.readers) == 0 {
		s.unlist()
		s.signal()
		s.shift(s.next) // now, and not when the goroutine of run is scheduled: a fill may need the buffers
	}
}

// unlist ends the joining of the scan.
func (s *scan) unlist() {
	s.set.list = slices.DeleteFunc(s.set.list, func(other *scan) bool { return other == s })
	for _, other := range s.set.list {
		other.signal() // it may advance
	}
}
