// Package flight makes concurrent wishes for one thing into one piece of work.
//
// The work is detached from those who wait for it: it runs on a goroutine of its own, with a context of its own, so a
// caller that gives up, even the one that began it, ends nobody else's. A panic in the work becomes an error that every
// waiter gets. Nothing is remembered: the next wish after a result, good or bad, begins anew.
//
// A piece of work may be for several neighbouring keys, whose results come one after the other: a run.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

var (
	// ErrPanic is wrapped by the error that the waiters get when the work panicked.
	ErrPanic = errors.New("the work panicked")
	// ErrClosed is returned once the group is closed.
	ErrClosed = errors.New("closed")
)

// Group holds the work in flight, by key. Its methods may be called concurrently.
type Group[K comparable, V any] struct {
	work  func(ctx context.Context, keys []K, finish func(V, error))
	share func(v V, callers int)
	there func(key K) bool

	ctx    context.Context // of all work; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the goroutines of work

	mu     sync.Mutex // guards what follows and every call's waiters and finished
	calls  map[K]*call[V]
	closed bool
}

type call[V any] struct {
	waiters  int
	finished bool
	done     chan struct{} // closed once value and err are set
	value    V
	err      error
}

// New returns a group that does work. If V counts references, share is not nil: work returns a value with one
// reference, and share(v, n) turns that one into n, for n callers that each get v and release it (0: nobody wants it
// any more).
func New[K comparable, V any](work func(ctx context.Context, key K) (V, error), share func(v V, callers int)) *Group[K, V] {
	return NewRuns(func(ctx context.Context, keys []K, finish func(V, error)) {
		finish(work(ctx, keys[0]))
	}, share, nil)
}

// NewRuns returns a group whose work is for several keys at a time. It calls finish for each of keys, in their order,
// as soon as it has that key's result. An error is that of the keys after it as well, and the last call of finish.
//
// there, if not nil, tells of which keys nobody has to wait for, because earlier work has put their results where everyone
// finds them before it called finish. It must not call the group.
func NewRuns[K comparable, V any](
	work func(ctx context.Context, keys []K, finish func(V, error)), share func(v V, callers int), there func(key K) bool,
) *Group[K, V] {
	if there == nil {
		there = func(K) bool { return false }
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Group[K, V]{work: work, share: share, there: there, ctx: ctx, cancel: cancel, calls: make(map[K]*call[V])}
}

// Do returns the result of the work for key, which it begins unless it is in flight, together with the keys of more up
// to the first that is, or that is there. joined says that it was in flight. It fails with ctx's cause when ctx ends before
// the work.
func (g *Group[K, V]) Do(ctx context.Context, key K, more ...K) (v V, joined bool, err error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return v, false, ErrClosed
	}
	c, joined := g.calls[key]
	if !joined {
		c = g.begin(append([]K{key}, more...))
	}
	c.waiters++
	g.mu.Unlock()

	select {
	case <-c.done:
		return c.value, joined, c.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	finished := c.finished
	if !finished {
		c.waiters--
	}
	g.mu.Unlock()
	if finished { // both happened; this caller's reference is counted already
		<-c.done
		return c.value, joined, c.err
	}
	return v, joined, context.Cause(ctx)
}

// Ahead begins the work for the keys up to the first that is in flight, or there, and waits for none of it.
func (g *Group[K, V]) Ahead(keys ...K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed && len(keys) > 0 && g.calls[keys[0]] == nil && !g.there(keys[0]) {
		g.begin(keys)
	}
}

// begin begins the work for the keys up to the first that is in flight, or there, which is not the first of all, and
// returns the call of that one. g.mu is held: a key whose flight has just ended is there. Work that was begun for such a
// key all the same might come to run when what is there is gone again, and do all anew for nobody.
func (g *Group[K, V]) begin(keys []K) *call[V] {
	var calls []*call[V]
	for i, k := range keys {
		if g.calls[k] != nil || i > 0 && g.there(k) {
			break
		}
		c := &call[V]{done: make(chan struct{})}
		g.calls[k] = c
		calls = append(calls, c)
	}
	g.wg.Go(func() { g.run(keys[:len(calls)], calls) })
	return calls[0]
}

func (g *Group[K, V]) run(keys []K, calls []*call[V]) {
	finish := func(v V, err error) {
		if len(keys) == 0 {
			panic("more results than keys")
		}
		n := 1
		if err != nil {
			n = len(keys)
		}
		g.finish(keys[:n], calls[:n], v, err)
		keys, calls = keys[n:], calls[n:]
	}
	// Should the work end its goroutine, which is neither a return nor a panic, this is what the waiters get.
	last := fmt.Errorf("%w: it ended its goroutine", ErrPanic)
	defer func() {
		if v := recover(); v != nil {
			last = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
		}
		if len(keys) > 0 {
			var none V
			finish(none, last)
		}
	}()
	g.work(g.ctx, keys, finish)
}

// finish ends the calls with the result. All at once: who is told of an error and asks again must not join a call that is
// about to end with the same.
func (g *Group[K, V]) finish(keys []K, calls []*call[V], v V, err error) {
	g.mu.Lock()
	for i, c := range calls {
		c.value, c.err, c.finished = v, err, true
		delete(g.calls, keys[i])
		if err == nil && g.share != nil {
			g.share(v, c.waiters)
		}
	}
	g.mu.Unlock()
	for _, c := range calls {
		close(c.done)
	}
}

// Close ends the context of all work, waits for it to return, and lets nothing begin any more.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
