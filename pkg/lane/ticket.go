package lane

import (
	"container/list"
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// Slice is how long a function runs in a lane before [Yield] passes its place to one that waits.
const Slice = 10 * time.Millisecond

// yieldEvery is how often [Yield] lets other goroutines of the process run.
const yieldEvery = time.Millisecond

// ticket is one function in a lane.
type ticket struct {
	lane  *Lane
	outer *ticket // of the function of another lane in which this one runs; nil for none
	work  work

	// The fields below are guarded by lane.mu.
	state    state
	admitted bool          // it has had a place
	element  *list.Element // in a queue, or in Lane.placed
	ready    chan struct{} // of a ticket that waits: closed when it has a place
	began    time.Duration // when it got its present place
	ran      time.Duration // with the places before

	// yielded is the time of the last yield, since Lane.start. Several goroutines of the function may yield.
	yielded atomic.Int64
}

type state int

const (
	waiting state = iota // in a queue
	running              // with a place
	astray               // without a place: see Config.Hold and Yield
	ended
)

type ticketKey struct{}

// push appends t to its queue. It returns the channel that is closed when t has a place. The caller holds mu.
func (l *Lane) push(t *ticket) (ready <-chan struct{}) {
	t.state, t.ready = waiting, make(chan struct{})
	t.element = l.queues[t.work].PushBack(t)
	return t.ready
}

// place gives t a place. The caller holds mu.
func (l *Lane) place(t *ticket) {
	t.state, t.began, t.admitted = running, l.now(), true
	t.yielded.Store(int64(t.began))
	t.element = l.placed.PushBack(t)
	l.running[t.work]++
}

// displace takes the place of t. The caller holds mu.
func (l *Lane) displace(t *ticket) {
	t.ran += l.now() - t.began
	l.placed.Remove(t.element)
	l.running[t.work]--
}

// stray records that the function of t goes on without a place. The caller holds mu.
func (l *Lane) stray(t *ticket) {
	t.state = astray
	if t.work == user {
		l.astray++
	}
}

// gather ends what stray began. The caller holds mu.
func (l *Lane) gather(t *ticket) {
	if t.work == user {
		l.astray--
	}
}

// leave ends the ticket. Further calls do nothing.
func (t *ticket) leave() {
	l := t.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	switch t.state {
	case running:
		l.displace(t)
	case astray:
		l.gather(t)
	case waiting: // a goroutine that the function started is in Yield
		l.queues[t.work].Remove(t.element)
		close(t.ready)
	case ended:
		return
	}
	t.state = ended
	l.metrics.run[t.work].observe(t.ran)
	l.fill()
}

// Yield lets others run, if a millisecond has passed since the last time: other goroutines of the process, and after a [Slice] those
// that wait for the lane of ctx. A function of [Lane.Do] passes its place to a waiting [Lane.Enter] at once. Yield costs about as much as
// reading the clock. Outside of a lane it is [runtime.Gosched].
//
// Yield may wait for a place until ctx ends. After that the function goes on without a place, and should end soon.
func Yield(ctx context.Context) {
	t, ok := ctx.Value(ticketKey{}).(*ticket)
	if !ok {
		runtime.Gosched()
		return
	}
	now, last := t.lane.now(), t.yielded.Load()
	if now-time.Duration(last) < yieldEvery || !t.yielded.CompareAndSwap(last, int64(now)) {
		return
	}
	if !t.lane.pass(ctx, t, now) {
		runtime.Gosched()
	}
}

// pass passes the place of t to one that waits, and waits for the next. It returns false if none waits that may have it.
func (l *Lane) pass(ctx context.Context, t *ticket, now time.Duration) bool {
	l.mu.Lock()
	switch t.state {
	case running:
		if !l.due(t, now) {
			l.mu.Unlock()
			return false
		}
		l.displace(t)
	case astray:
		if ctx.Err() != nil {
			l.mu.Unlock()
			return false
		}
		l.gather(t)
	default: // another goroutine of the function waits, or the function has returned
		l.mu.Unlock()
		return false
	}
	ready := l.push(t)
	l.fill()
	l.mu.Unlock()
	select {
	case <-ready: // none that waits may have the place
		return false
	default:
	}
	_ = l.wait(ctx, t, ready, nil) // after an error the function is astray
	return true
}

// due reports whether t must pass on its place. The caller holds mu.
func (l *Lane) due(t *ticket, now time.Duration) bool {
	if l.running[own]+l.running[user] > l.width {
		return true // SetWidth has made the lane narrower
	}
	if t.work == user && l.queues[own].Len() > 0 {
		return true
	}
	if now-t.began < Slice {
		return false
	}
	if t.work == own && l.queues[user].Len() > 0 {
		l.turns = ownTurns // the next place is theirs
		return true
	}
	return l.queues[t.work].Len() > 0
}
