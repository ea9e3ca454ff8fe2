// Package flight gives concurrent callers that want the same thing the result of one call.
//
// The call has its own goroutine and context. A caller whose context ends, even the one that started the call, does not end
// it for the others. A panic becomes an error of all callers. No result is remembered: the next caller
// after it starts a new call.
//
// Package singleflight of golang.org/x/sync ends the process when a call panics that callers wait for with a context.
package flight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

var (
	// ErrPanic is wrapped by the error that callers get when the call panicked.
	ErrPanic = errors.New("the call panicked")
	// ErrClosed is returned by a closed group.
	ErrClosed = errors.New("closed")
)

// Group holds the calls in flight, by key. Its methods may be called concurrently.
type Group[K comparable, V any] struct {
	work func(ctx context.Context, key K) (V, error)

	ctx    context.Context // of all calls; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the goroutines of calls

	mu     sync.Mutex // guards what follows
	calls  map[K]*call[V]
	closed bool
}

type call[V any] struct {
	done  chan struct{} // closed once value and err are set
	value V
	err   error
}

// New returns a group whose calls are of work.
func New[K comparable, V any](work func(ctx context.Context, key K) (V, error)) *Group[K, V] {
	ctx, cancel := context.WithCancel(context.Background())
	return &Group[K, V]{work: work, ctx: ctx, cancel: cancel, calls: make(map[K]*call[V])}
}

// Do returns the result of the call for key that is in flight, or of a new one. It fails with ctx's cause when ctx ends
// before the call.
func (g *Group[K, V]) Do(ctx context.Context, key K) (v V, err error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return v, ErrClosed
	}
	c, ok := g.calls[key]
	if !ok {
		c = &call[V]{done: make(chan struct{})}
		g.calls[key] = c
		g.wg.Go(func() { g.run(key, c) })
	}
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}

func (g *Group[K, V]) run(key K, c *call[V]) {
	c.err = fmt.Errorf("%w: it ended its goroutine", ErrPanic) // for runtime.Goexit, which is neither a return nor a panic
	defer func() {
		if v := recover(); v != nil {
			c.err = fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack())
		}
		g.mu.Lock()
		delete(g.calls, key)
		g.mu.Unlock()
		close(c.done)
	}()
	c.value, c.err = g.work(g.ctx, key)
}

// Close ends the context of all calls and waits for them to return. Do fails from then on.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
