package subscribe

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/table"
)

// callback is a function given to OnSwap, with the goroutine that calls it.
type callback struct {
	d     *Dataset
	what  string // for warnings
	call  func(context.Context, Swap)
	ctx   context.Context // ends with the callback
	end   context.CancelFunc
	wake  wake.Signal               // buffers one signal: a version is pending
	err   atomic.Pointer[error]     // of the last call; nil if it succeeded
	began atomic.Pointer[time.Time] // when the call in progress began; nil if there is none
	// decodeErr returns what an eager view could not decode; nil for other callbacks.
	decodeErr func() error

	// The fields below are guarded by Subscriber.mu.
	newest  *served      // the version of the last signal
	pending *pendingSwap // from the version of the last call to newest; nil if they are the same and no replay is pending
	behind  time.Time    // when the first version was swapped in that no completed call has covered; zero if there is none
}

// trouble returns a failed call, a call that takes longer than patience, or what a view could not decode; nil otherwise.
func (c *callback) trouble(patience time.Duration) error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	if began := c.began.Load(); began != nil {
		if d := time.Since(*began); d > patience {
			return fmt.Errorf("%s has not returned for %s; newer versions wait for it", c.what, d.Round(time.Second))
		}
	}
	if c.decodeErr != nil {
		return c.decodeErr()
	}
	return nil
}

// OnSwap registers f to be called after each swap of the dataset, and at once if a version is served already. stop ends the
// registration without waiting for a call in progress, so f may call stop. No other call begins after stop has returned.
//
// Each f has its own goroutine and may take long: neither refreshes nor other callbacks wait for it. Its calls come one at a
// time in the order of versions, each with the New of the call before as Old. Of the versions that arrive while f runs only
// the newest is passed on, and [Swap.Changes] then covers all of them.
//
// If f panics, the call is retried with the same Old, with exponential backoff and jitter, or as soon as a newer version is
// served. The log, the status and the Observer report it. So f must allow a change to come twice.
//
// A call keeps both its tables in memory. f must not call [Subscriber.Close], which waits for it. The error is an [ErrClosed].
func (d *Dataset) OnSwap(f func(Swap)) (stop func(), err error) {
	return d.register(&callback{what: "a function given to OnSwap", call: func(_ context.Context, swap Swap) { f(swap) }})
}

func (d *Dataset) register(c *callback) (stop func(), err error) {
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, fmt.Errorf("register a callback for dataset %s: %w", d.name, ErrClosed)
	}
	c.d, c.wake = d, wake.New()
	c.ctx, c.end = context.WithCancel(s.ctx)
	if c.newest = d.current.Load(); c.newest != nil {
		c.pending, c.behind = &pendingSwap{to: c.newest}, time.Now()
	}
	d.callbacks = append(d.callbacks, c)
	s.running.Go(c.run)
	return c.stop, nil
}

// stop removes the callback and ends its goroutine without waiting for it.
func (c *callback) stop() {
	c.d.s.mu.Lock()
	defer c.d.s.mu.Unlock()
	c.end()
	c.d.callbacks = slices.DeleteFunc(c.d.callbacks, func(other *callback) bool { return other == c })
}

// signal passes a swap to the dataset's callbacks and followers.
func (d *Dataset) signal(next *pendingSwap) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	for _, f := range d.followers {
		f.signal(next)
	}
	if next == nil {
		return // a deleted version, which keeps the table, or a replay, which callbacks have already
	}
	now := next.to
	for _, c := range d.callbacks {
		if c.newest == now {
			continue // it was registered between the swap and now
		}
		c.newest, c.pending = now, c.pending.then(next)
		if c.behind.IsZero() {
			c.behind = now.At
		}
		c.wake.Set()
	}
}

// take returns and clears the pending swap, nil if there is none; ok is false if the callback has ended. If a swap is due,
// which is one that is pending or retried, the call has begun when take returns.
func (c *callback) take(retried *pendingSwap) (due *pendingSwap, ok bool) {
	c.d.s.mu.Lock()
	defer c.d.s.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, false
	}
	due, c.pending = retried.then(c.pending), nil
	if due != nil {
		began := time.Now()
		c.began.Store(&began)
	}
	return due, true
}

// completed records that a call has returned.
func (c *callback) completed() {
	c.err.Store(nil)
	c.d.s.mu.Lock()
	defer c.d.s.mu.Unlock()
	c.behind = time.Time{}
	if c.pending != nil {
		c.behind = time.Now() // that version arrived during the call
	}
}

// leave ends the callback. No replay waits for it any more.
func (c *callback) leave(retried *pendingSwap) {
	c.end()
	c.d.s.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.d.s.mu.Unlock()
	retried.called(nil)
	pending.called(nil)
}

// run calls the callback for every pending swap.
func (c *callback) run() {
	s := c.d.s
	var old *table.Table
	var retried *pendingSwap
	defer func() { c.leave(retried) }()
	pauses := backoff.New(s.cfg.RetryInitial, s.cfg.RetryMax)
	for {
		due, ok := c.take(retried)
		switch {
		case !ok:
			return
		case due == nil:
			select {
			case <-c.wake:
			case <-c.ctx.Done():
				return
			}
			continue
		}
		now := due.to
		base := due.base(old)
		swap := Swap{Dataset: c.d.name, Old: base, New: now.Value, Full: true, Replayed: due.replayed}
		swap.Record, swap.ID = now.Content()
		if due.changes != nil && due.changes.Old() == base {
			swap.Full, swap.changes = false, due.changes
		}
		err := guard.Try(func() error { c.call(c.ctx, swap); return nil })
		c.began.Store(nil)
		if err == nil {
			old, retried = now.Value, nil
			c.completed()
			due.called(nil)
			pauses.Reset()
			continue
		}
		retried = due
		err = fmt.Errorf("call back for version %s: %w", now.Record.ID(), err)
		c.err.Store(&err)
		due.called(err)
		pause := pauses.Next()
		s.events.CallbackFailed(CallbackFailure{Dataset: c.d.name, Version: now.Record.Version, Err: err, Pause: pause})
		if !wake.Wait(c.ctx, pause, c.wake) {
			return
		}
	}
}
