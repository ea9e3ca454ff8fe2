// Package flight makes concurrent wishes for one thing into one piece of work.
//
// The work is detached from those who wait for it: it runs on a goroutine of its own, with a context of its own, so a
// caller that gives up, even the one that began it, ends nobody else's. A panic in the work becomes an error that every
// waiter gets. Nothing is remembered: the next wish after a result, good or bad, begins anew.
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
	work  func(ctx context.Context, key K) (V, error)
	share func(v V, callers int)

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
	ctx, cancel := context.WithCancel(context.Background())
	return &Group[K, V]{work: work, share: share, ctx: ctx, cancel: cancel, calls: make(map[K]*call[V])}
}

// Do returns the result of the work for key, which it begins unless it is in flight. joined says that it was. It fails
// with ctx's cause when ctx ends before the work.
func (g *Group[K, V]) Do(ctx context.Context, key K) (v V, joined bool, err error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return v, false, ErrClosed
	}
	c, joined := g.calls[key]
	if !joined {
		c = &call[V]{done: make(chan struct{})}
		g.calls[key] = c
		g.wg.Go(func() { g.run(key, c) })
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

func (g *Group[K, V]) run(key K, c *call[V]) {
	// Should the work end its goroutine, which is neither a return nor a panic, this is what the waiters get.
	c.err = fmt.Errorf("%w: it ended its goroutine", ErrPanic)
	defer func() {
		if v := recover(); v != nil {
			c.err = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
		}
		g.mu.Lock()
		c.finished = true
		delete(g.calls, key)
		if c.err == nil && g.share != nil {
			g.share(c.value, c.waiters)
		}
		g.mu.Unlock()
		close(c.done)
	}()
	c.value, c.err = g.work(g.ctx, key)
}

// Close ends the context of all work, waits for it to return, and lets nothing begin any more.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
