// Package lane bounds heavy work, so that lookups never wait for it. A process has two lanes: the CPU lane for work that computes
// (decoding, indexing, scans, eager views), and the I/O lane for work that waits for others (pulls, Redis, NATS). A full lane refuses
// work at once and says when to try again. One lane being full does not affect the other.
package lane

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// ErrShed is wrapped by the errors of work that a lane refused. The error is a [*ShedError].
var ErrShed = errors.New("the lane is full")

// ShedError is why a lane refused work.
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
	// Queue is how many calls of [Lane.Do] may wait for one that runs.
	Queue int
	// Wait is how long a call of [Lane.Do] may wait.
	Wait time.Duration
}

// Slice is how long a function runs in a lane before [Yield] passes its place to one that waits.
const Slice = 10 * time.Millisecond

// yieldEvery is how often [Yield] lets other goroutines of the process run.
const yieldEvery = time.Millisecond

// Lane runs functions on their callers' goroutines, Config.Width at a time and in the order of their calls. It is safe for concurrent use.
type Lane struct {
	cfg Config

	mu      sync.Mutex
	width   int       // guarded by mu
	running int       // guarded by mu
	own     list.List // guarded by mu: of *ticket, those of Enter that wait; they come first
	others  list.List // guarded by mu: of *ticket, those of Do that wait
}

// ticket is the place of one function in a lane.
type ticket struct {
	lane  *Lane
	own   bool
	ready chan struct{} // closed when the ticket runs
	runs  bool          // guarded by lane.mu

	// The fields below belong to the goroutine of the function.
	began   time.Time // of the present slice
	yielded time.Time
}

type ticketKey struct{}

// New returns a lane.
func New(cfg Config) *Lane { return &Lane{cfg: cfg, width: max(cfg.Width, 1)} }

// Do calls f as soon as the lane has a place, and returns its error. If too many wait, or f waited for Config.Wait, the error is a
// [*ShedError] and f is not called; if ctx ends first, it is the cause of ctx. f should call [Yield] at least every millisecond. A call
// from a function that runs in the lane already calls f at once.
func (l *Lane) Do(ctx context.Context, f func(context.Context) error) error {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok && t.lane == l {
		return f(ctx)
	}
	t, err := l.admit(ctx, false)
	if err != nil {
		return err
	}
	defer l.leave(t)
	return f(context.WithValue(ctx, ticketKey{}, t))
}

// Enter waits until the lane has a place, and takes it until leave is called. It is for freshet's own refreshes, which are bounded
// elsewhere: they are never refused, and come before the functions of [Lane.Do]. The error is the cause of ctx.
func (l *Lane) Enter(ctx context.Context) (inside context.Context, leave func(), err error) {
	if t, ok := ctx.Value(ticketKey{}).(*ticket); ok && t.lane == l {
		return ctx, func() {}, nil
	}
	t, err := l.admit(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, ticketKey{}, t), sync.OnceFunc(func() { l.leave(t) }), nil
}

// SetWidth changes how many functions run at a time. Functions that run go on.
func (l *Lane) SetWidth(width int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = max(width, 1)
	l.fill()
}

func (l *Lane) admit(ctx context.Context, own bool) (*ticket, error) {
	t := &ticket{lane: l, own: own, ready: make(chan struct{})}
	l.mu.Lock()
	if !own && l.running >= l.width && l.others.Len() >= l.cfg.Queue {
		l.mu.Unlock()
		return nil, l.shed(fmt.Sprintf("has %d waiting", l.cfg.Queue))
	}
	l.push(t)
	l.fill()
	l.mu.Unlock()
	var late <-chan time.Time
	if !own {
		timer := time.NewTimer(l.cfg.Wait)
		defer timer.Stop()
		late = timer.C
	}
	if err := l.wait(ctx, t, late); err != nil {
		return nil, err
	}
	return t, nil
}

func (l *Lane) shed(reason string) error {
	return &ShedError{Lane: l.cfg.Name, Reason: reason, RetryAfter: max(l.cfg.Wait, time.Second)}
}

// wait waits until t runs. With an error t has no place.
func (l *Lane) wait(ctx context.Context, t *ticket, late <-chan time.Time) (err error) {
	select {
	case <-t.ready:
	case <-late:
		err = l.shed(fmt.Sprintf("had no place for %s", l.cfg.Wait))
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		l.leave(t)
		return err
	}
	t.began = time.Now()
	t.yielded = t.began
	return nil
}

func (l *Lane) queue(t *ticket) *list.List {
	if t.own {
		return &l.own
	}
	return &l.others
}

func (l *Lane) push(t *ticket) { l.queue(t).PushBack(t) }

// fill gives free places to those that wait. The caller holds mu.
func (l *Lane) fill() {
	for l.running < l.width {
		q := &l.own
		if q.Len() == 0 {
			q = &l.others
		}
		if q.Len() == 0 {
			return
		}
		t := q.Remove(q.Front()).(*ticket)
		t.runs = true
		l.running++
		close(t.ready)
	}
}

// leave ends the ticket, whether it runs or waits.
func (l *Lane) leave(t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.runs {
		t.runs = false
		l.running--
		l.fill()
		return
	}
	q := l.queue(t)
	for e := q.Front(); e != nil; e = e.Next() {
		if e.Value == t {
			q.Remove(e)
			return
		}
	}
}

// Yield lets others run, if a millisecond has passed since the last time: other goroutines of the process, and after a [Slice] those
// that wait for the lane of ctx. It costs about as much as reading the clock. Outside of a lane it is [runtime.Gosched].
func Yield(ctx context.Context) {
	t, ok := ctx.Value(ticketKey{}).(*ticket)
	if !ok {
		runtime.Gosched()
		return
	}
	now := time.Now()
	if now.Sub(t.yielded) < yieldEvery {
		return
	}
	t.yielded = now
	if !t.lane.pass(ctx, t, now) {
		runtime.Gosched()
	}
}

// pass passes the place of t to one that waits, and waits for the next. It returns false if none waits that may have it.
func (l *Lane) pass(ctx context.Context, t *ticket, now time.Time) bool {
	l.mu.Lock()
	first := l.own.Len() > 0 && !t.own
	next := now.Sub(t.began) >= Slice && l.queue(t).Len() > 0
	if !t.runs || !first && !next {
		l.mu.Unlock()
		return false
	}
	t.runs, t.ready = false, make(chan struct{})
	l.running--
	l.push(t)
	l.fill()
	l.mu.Unlock()
	_ = l.wait(ctx, t, nil) // after the end of ctx the function goes on without a place, and should end soon
	return true
}

// Lanes are the lanes of a process.
type Lanes struct {
	// CPU is for work that computes. It leaves a processor to lookups.
	CPU *Lane
	// IO is for work that waits for servers.
	IO *Lane
}

// Defaults returns lanes for this process. The CPU lane runs one function less than there are processors, and at least one.
func Defaults() Lanes {
	return Lanes{
		CPU: New(Config{Name: "cpu", Width: runtime.GOMAXPROCS(0) - 1, Queue: 16, Wait: 2 * time.Second}),
		IO:  New(Config{Name: "io", Width: 16, Queue: 64, Wait: 2 * time.Second}),
	}
}
