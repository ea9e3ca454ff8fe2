package lane

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrShed is wrapped by the errors of work that a lane refused. The error is a [*ShedError].
var ErrShed = errors.New("the lane is full")

// ShedError is returned when a lane refuses work.
type ShedError struct {
	Lane string
	// Reason says which bound was reached.
	Reason string
	// RetryAfter is when a caller may try again.
	RetryAfter time.Duration
}

func (e *ShedError) Error() string {
	return fmt.Sprintf("%v: the %s lane %s; try again in %s", ErrShed, e.Lane, e.Reason, e.RetryAfter)
}

func (e *ShedError) Unwrap() error { return ErrShed }

// Config configures a lane.
type Config struct {
	// Name is the lane's name in errors and metrics: cpu or io.
	Name string
	// Width is how many functions run at a time, at least 1.
	Width int
	// Reserved is how many of the places only [Lane.Enter] takes. At least one place remains for [Lane.Do].
	Reserved int
	// Queue is how many calls of [Lane.Do] may wait for one that runs.
	Queue int
	// Wait is how long a call of [Lane.Do] may wait.
	Wait time.Duration
	// Hold is how long a function may keep its place without [Yield] while a call of [Lane.Enter] waits, or own work while any waits. After
	// that the lane passes the place on, and the function goes on without one. Zero means without limit, for functions that do not compute.
	Hold time.Duration
}

// Lane runs functions on their callers' goroutines, Config.Width at a time. It is safe for concurrent use. A nil Lane has no bounds: it
// runs all functions at once.
type Lane struct {
	cfg     Config
	start   time.Time
	metrics metrics

	mu      sync.Mutex
	width   int       // guarded by mu
	running [2]int    // functions with a place; guarded by mu
	placed  list.List // of the tickets with a place; guarded by mu
	// astray is how many functions of Do run without a place: see Config.Hold and [Yield]. As many places stay free of other functions of
	// Do, so that their number stays bounded. Guarded by mu.
	astray int
	// turns is how many places in a row went to Enter while Do waited for one; guarded by mu.
	turns  int
	queues [2]list.List // of tickets that wait; guarded by mu
}

// work is the kind of a ticket.
type work int

const (
	own  work = iota // of Enter
	user             // of Do
)

// ownTurns bounds the places in a row that go to Enter while Do waits for one: Do has at least a ninth of the lane.
const ownTurns = 8

// New returns a lane.
func New(cfg Config) *Lane { return &Lane{cfg: cfg, width: max(cfg.Width, 1), start: time.Now()} }

// Do calls f as soon as the lane has a place, and returns its error. If too many wait, or f waited for Config.Wait, the error is a
// [*ShedError] and f is not called; if ctx ends first, it is the cause of ctx. f should call [Yield] at least every millisecond. A panic
// of f passes through Do. A call from a function that runs in the lane already calls f at once, in the place of that function.
func (l *Lane) Do(ctx context.Context, f func(context.Context) error) error {
	inside, leave, err := l.enter(ctx, user)
	if err != nil {
		return err
	}
	defer leave()
	return f(inside)
}

// Enter waits until the lane has a place, and takes it until leave is called. It is for freshet's own refreshes, which are bounded
// elsewhere: they are never refused, and come before the functions of [Lane.Do], which keep a ninth of the lane. The error is the cause of
// ctx. leave may be called more than once, from any goroutine.
func (l *Lane) Enter(ctx context.Context) (inside context.Context, leave func(), err error) {
	return l.enter(ctx, own)
}

func (l *Lane) enter(ctx context.Context, work work) (context.Context, func(), error) {
	if l == nil {
		return ctx, func() {}, nil
	}
	outer, _ := ctx.Value(ticketKey{}).(*ticket)
	if l.contains(outer) {
		return ctx, func() {}, nil
	}
	t, err := l.admit(ctx, work)
	if err != nil {
		return nil, nil, err
	}
	t.outer = outer
	return context.WithValue(ctx, ticketKey{}, t), t.leave, nil
}

// contains reports whether the function of t, or one that it runs in, is in l.
func (l *Lane) contains(t *ticket) bool {
	for ; t != nil; t = t.outer {
		if t.lane == l {
			l.mu.Lock()
			defer l.mu.Unlock()
			return t.state != ended
		}
	}
	return false
}

// SetWidth changes how many functions run at a time. Functions that run go on until they end or call [Yield].
func (l *Lane) SetWidth(width int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = max(width, 1)
	l.fill()
}

// admit returns a ticket that has a place.
func (l *Lane) admit(ctx context.Context, work work) (*ticket, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t := &ticket{lane: l, work: work}
	l.mu.Lock()
	switch {
	case l.queues[work].Len() == 0 && l.queues[own].Len() == 0 && l.fits(work):
		l.place(t)
		l.mu.Unlock()
		l.metrics.wait[work].observe(0)
		return t, nil
	case work == user && l.queues[user].Len() >= l.cfg.Queue:
		l.mu.Unlock()
		l.metrics.shedQueue.Add(1)
		return nil, l.shed(fmt.Sprintf("has %d waiting", l.cfg.Queue))
	}
	ready := l.push(t)
	l.mu.Unlock()
	began := l.now()
	var late <-chan time.Time
	if work == user {
		timer := time.NewTimer(l.cfg.Wait)
		defer timer.Stop()
		late = timer.C
	}
	if err := l.wait(ctx, t, ready, late); err != nil {
		l.countRefusal(err)
		return nil, err
	}
	l.metrics.wait[work].observe(l.now() - began)
	return t, nil
}

func (l *Lane) shed(reason string) error {
	return &ShedError{Lane: l.cfg.Name, Reason: reason, RetryAfter: max(l.cfg.Wait, time.Second)}
}

func (l *Lane) countRefusal(err error) {
	if errors.Is(err, ErrShed) {
		l.metrics.shedWait.Add(1)
	} else {
		l.metrics.canceled.Add(1)
	}
}

// wait waits until t, which is in a queue, has a place: then ready is closed. After an error t has no place and is in no queue; a function
// that runs already goes astray.
func (l *Lane) wait(ctx context.Context, t *ticket, ready <-chan struct{}, late <-chan time.Time) (err error) {
	var hold *time.Timer
	var held <-chan time.Time
	if l.cfg.Hold > 0 {
		hold = time.NewTimer(l.passOn(t.work))
		defer hold.Stop()
		held = hold.C
	}
	for {
		select {
		case <-ready:
			return nil
		case <-held:
			hold.Reset(l.passOn(t.work))
			continue
		case <-late:
			err = l.shed(fmt.Sprintf("had no place for %s", l.cfg.Wait))
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		break
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.state != waiting || (<-chan struct{})(t.ready) != ready {
		return nil // it got its place just now
	}
	l.queues[t.work].Remove(t.element)
	if t.state = ended; t.admitted {
		l.stray(t)
	}
	return err
}

// fits reports whether a ticket may get a place. The caller holds mu.
func (l *Lane) fits(work work) bool {
	busy := l.running[own] + l.running[user]
	if work == own {
		return busy < l.width
	}
	return busy+l.astray < l.width && l.running[user]+l.astray < max(l.width-l.cfg.Reserved, 1)
}

// fill gives free places to tickets that wait. The caller holds mu.
func (l *Lane) fill() {
	for {
		t := l.next()
		if t == nil {
			return
		}
		l.queues[t.work].Remove(t.element)
		l.place(t)
		close(t.ready)
	}
}

// next returns the ticket that gets the next place; nil if none does. The caller holds mu.
func (l *Lane) next() *ticket {
	first, second := l.queues[own].Front(), l.queues[user].Front()
	if !l.fits(own) {
		return nil
	}
	if second != nil && !l.fits(user) {
		second = nil
	}
	switch {
	case first == nil && second == nil:
		return nil
	case first == nil || second != nil && l.turns >= ownTurns:
		l.turns = 0
		return second.Value.(*ticket)
	case second == nil:
		l.turns = 0
	default:
		l.turns++
	}
	return first.Value.(*ticket)
}

// passOn passes on the place of the function that has not yielded for longest, if that is longer than Config.Hold, to the kind of work
// that waits. A function of Do does not get the place of another: they would all run at a time. passOn returns when to call it again, if work
// still waits.
func (l *Lane) passOn(to work) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queues[to].Len() == 0 {
		return l.cfg.Hold
	}
	var longest *ticket
	for e := l.placed.Front(); e != nil; e = e.Next() {
		t := e.Value.(*ticket)
		if to == user && t.work == user {
			continue
		}
		if longest == nil || t.yielded.Load() < longest.yielded.Load() {
			longest = t
		}
	}
	if longest == nil {
		return l.cfg.Hold
	}
	if left := l.cfg.Hold - (l.now() - time.Duration(longest.yielded.Load())); left > 0 {
		return left
	}
	l.displace(longest)
	l.stray(longest)
	l.metrics.held.Add(1)
	l.fill()
	return time.Millisecond
}

// now returns the time since the lane was created.
func (l *Lane) now() time.Duration { return time.Since(l.start) }
