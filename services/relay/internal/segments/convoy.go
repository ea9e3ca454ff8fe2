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
	// maxConvoys is how many windows there may be. Together they take half of the buffers.
	maxConvoys = 4
	// gatherTime is how long a convoy waits at the end of its first window for those that start at about the same time.
	gatherTime = 250 * time.Millisecond
	// followTime is how long a convoy waits there for another that is further on in the same object. When a relay admits so
	// many responses at a time, readers come one by one, as others leave: without this each of them has the object read
	// once more. It leaves room below the 20 s without a byte after which instances give up.
	followTime = 5 * time.Second
	// patience is how long the foremost rider of a convoy waits for the hindmost.
	patience = 2 * time.Second
)

// convoys are the readers of objects too large for the cache who read about the same bytes at about the same time. Each
// convoy keeps a window of one object's segments, which moves on with its readers, so that each segment is read once
// for all of them. A reader that would move the window away from under another waits a while; then the other is left
// behind, and goes on in another convoy, or on its own.
type convoys struct {
	width    int64  // segments in a window
	spare    *spare // gets what windows leave behind
	expelled atomic.Int64

	mu   sync.Mutex // guards all, and that in each convoy and rider
	list []*convoy
}

type convoy struct {
	set     *convoys
	digest  dataset.Digest
	size    int64
	begun   time.Time
	late    bool                // begun by a rider that another convoy left behind
	start   int64               // index of the segment where it began
	first   int64               // index of the first segment of the window
	window  []slot              // a ring: segment i is at i modulo its length
	riders  map[*rider]struct{} // those that are not left behind
	waiting int                 // riders that wait for the window to move
	moved   chan struct{}       // closed, and made anew, when there may be room for those that wait
}

type slot struct {
	segment *Segment // nil if not read yet; with a reference of the convoy's
	riders  int      // how many are here
}

// rider is a reader's place in a convoy.
type rider struct {
	set    *convoys
	digest dataset.Digest
	size   int64
	late   bool    // it was left behind once
	convoy *convoy // nil while it is on its own
	at     int64   // index of the segment it reads, in its convoy
}

// join returns a rider that begins at segment index.
func (cs *convoys) join(digest dataset.Digest, size, index int64) *rider {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	r := &rider{set: cs, digest: digest, size: size}
	r.join(index)
	return r
}

// join puts the rider into a convoy whose window segment index is in, or else a new one, unless there are too many.
func (r *rider) join(index int64) {
	cs := r.set
	for _, v := range cs.list {
		if v.digest == r.digest && v.size == r.size && v.first <= index && index < v.first+cs.width {
			r.convoy = v
			break
		}
	}
	if r.convoy == nil && len(cs.list) == maxConvoys && !r.late {
		// Rather those that were left behind go on their own than those that come.
		if i := slices.IndexFunc(cs.list, func(v *convoy) bool { return v.late }); i >= 0 {
			cs.list[i].expel(math.MaxInt64)
		}
	}
	if r.convoy == nil && len(cs.list) < maxConvoys && cs.width > 0 {
		// One slot more than the window: there the foremost wait.
		r.convoy = &convoy{
			set: cs, digest: r.digest, size: r.size, begun: time.Now(), start: index, first: index, late: r.late,
			window: make([]slot, cs.width+1), riders: make(map[*rider]struct{}), moved: make(chan struct{}),
		}
		cs.list = append(cs.list, r.convoy)
	}
	if r.convoy != nil {
		r.at = index
		r.convoy.riders[r] = struct{}{}
		r.convoy.slot(index).riders++
	}
}

func (v *convoy) slot(i int64) *slot { return &v.window[i%int64(len(v.window))] }

// advance moves the rider to segment index, which is where it is or the next, and waits until the window may follow. It
// returns the end of the window.
func (r *rider) advance(ctx context.Context, index int64) (end int64, err error) {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	var patient time.Time // until when the rider waits for others
	for {
		if r.convoy == nil {
			r.join(index)
		}
		v := r.convoy
		if v == nil {
			return index + 1, nil // on its own, it has nowhere to keep what it would read ahead
		}
		r.move(index)
		// Who has to wait waits for a part of the window, so that the origin is not asked for one segment at a time.
		need := index + r.set.width/4
		if index < v.first+r.set.width {
			return v.first + r.set.width, nil
		}
		if behind := v.behind(); behind > 0 {
			if err := v.wait(ctx, behind); err != nil {
				return 0, err
			}
			patient = time.Time{}
			continue
		}
		gather := time.Until(v.begun.Add(gatherTime))
		if gather <= 0 && v.follow(need) {
			return v.first + r.set.width, nil
		}
		if patient.IsZero() {
			patient = time.Now().Add(patience)
		}
		wait := time.Until(patient)
		if gather > 0 {
			wait = min(wait, gather)
		}
		if err := v.wait(ctx, wait); err != nil {
			return 0, err
		}
		if !time.Now().Before(patient) {
			patient = time.Time{}
			if r.convoy == v {
				v.expel(need - r.set.width)
			}
		}
	}
}

// behind returns for how long the convoy, should it be where it began, waits at most for another to end.
func (v *convoy) behind() time.Duration {
	if v.late || v.first != v.start {
		return 0
	}
	for _, other := range v.set.list {
		if other.digest == v.digest && other.size == v.size && other.first > v.first && !other.late {
			return time.Until(v.begun.Add(followTime))
		}
	}
	return 0
}

// wait waits until there may be room, or for d. It gives the lock back meanwhile.
func (v *convoy) wait(ctx context.Context, d time.Duration) (err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	moved := v.moved
	v.waiting++
	v.set.mu.Unlock()
	select {
	case <-moved:
	case <-timer.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	v.set.mu.Lock()
	v.waiting--
	return err
}

// move takes the rider to segment index.
func (r *rider) move(index int64) {
	if index != r.at {
		r.convoy.left(r.at)
		r.at = index
		r.convoy.slot(index).riders++
	}
}

// left says that a rider left segment i.
func (v *convoy) left(i int64) {
	s := v.slot(i)
	// Those that wait need the first quarter of the window free.
	if s.riders--; s.riders == 0 && i <= v.first+v.set.width/4 {
		v.wake()
	}
}

// wake has those that wait look again.
func (v *convoy) wake() {
	if v.waiting > 0 {
		close(v.moved)
		v.moved = make(chan struct{})
	}
}

// follow moves the window until segment i is in it, if no rider is where it would be gone.
func (v *convoy) follow(i int64) bool {
	first := i - v.set.width + 1
	for at := v.first; at < first; at++ {
		if v.slot(at).riders > 0 {
			return false
		}
	}
	for ; v.first < first; v.first++ {
		v.spare(v.first)
	}
	return true
}

// expel leaves the riders up to segment last behind.
func (v *convoy) expel(last int64) {
	for r := range v.riders {
		if r.at <= last {
			r.leaveLocked()
			r.late = true
			v.set.expelled.Add(1)
		}
	}
}

// leave ends the rider's part in its convoy.
func (r *rider) leave() {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	r.leaveLocked()
}

func (r *rider) leaveLocked() {
	v := r.convoy
	if v == nil {
		return
	}
	r.convoy = nil
	delete(v.riders, r)
	v.left(r.at)
	if len(v.riders) == 0 {
		v.end()
	}
}

// spare gives the window's segment i away.
func (v *convoy) spare(i int64) {
	s := v.slot(i)
	if s.segment != nil {
		v.set.spare.put(place{v.digest, v.size, i}, s.segment, v.begun)
		s.segment = nil
	}
}

// end gives the window away.
func (v *convoy) end() {
	for i := range int64(len(v.window)) {
		v.spare(v.first + i)
	}
	v.set.list = slices.DeleteFunc(v.set.list, func(other *convoy) bool { return other == v })
	for _, other := range v.set.list {
		other.wake()
	}
}

// drop releases the segments of the window.
func (v *convoy) drop() {
	for i := range v.window {
		if s := v.window[i].segment; s != nil {
			s.Release()
			v.window[i].segment = nil
		}
	}
}

// forget drops the segments of an object. Who still needs them has them read anew.
func (cs *convoys) forget(digest dataset.Digest, size int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, v := range cs.list {
		if v.digest == digest && v.size == size {
			v.drop()
		}
	}
}

// find calls f for the slots that segment p belongs in, until it returns true.
func (cs *convoys) find(p place, f func(*slot) bool) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, v := range cs.list {
		if v.digest == p.digest && v.size == p.size && v.first <= p.index && p.index < v.first+cs.width && f(v.slot(p.index)) {
			return true
		}
	}
	return false
}

// offer gives a segment, to which the caller has a reference, to the convoys that want it, and reports whether one does.
func (cs *convoys) offer(p place, s *Segment) (taken bool) {
	cs.find(p, func(at *slot) bool {
		if at.segment == nil {
			s.add(1)
			at.segment = s
		}
		taken = true
		return false
	})
	return taken
}

// get returns the segment with a reference for the caller, or nil if no convoy has it.
func (cs *convoys) get(p place) (s *Segment) {
	cs.find(p, func(at *slot) bool {
		if at.segment != nil && at.segment.acquire() {
			s = at.segment
		}
		return s != nil
	})
	return s
}

func (cs *convoys) has(p place) bool {
	return cs.find(p, func(at *slot) bool { return at.segment != nil })
}

// close releases the windows of readers that are not closed.
func (cs *convoys) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for len(cs.list) > 0 {
		for r := range cs.list[0].riders {
			r.leaveLocked()
			break // it may have been the last, which ends the convoy
		}
	}
}
