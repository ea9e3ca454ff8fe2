// Package wake lets any number of goroutines wake one that waits ([Signal]), or all that wait ([Broadcast]).
package wake

import (
	"context"
	"math"
	"time"
)

// Forever is a duration for [Wait] that does not pass.
const Forever = time.Duration(math.MaxInt64)

// Signal wakes the goroutine that receives from it. Signals that arrive before the receive are merged into one: the receiver
// must then handle everything that has happened before.
type Signal chan struct{}

// New returns a Signal that is not set.
func New() Signal { return make(Signal, 1) }

// Set wakes the receiver, at once or at its next receive. It never blocks.
func (s Signal) Set() {
	select {
	case s <- struct{}{}:
	default: // the receiver has not received the signal before yet
	}
}

// Wait waits until d has passed, s is set or ctx ends, and reports whether ctx goes on. A nil s is never set.
func Wait(ctx context.Context, d time.Duration, s Signal) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
