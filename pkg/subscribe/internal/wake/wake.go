// Package wake has the signal by which one goroutine wakes another.
package wake

import (
	"context"
	"math"
	"time"
)

// Forever is a duration for [Wait] that does not pass.
const Forever = time.Duration(math.MaxInt64)

// Signal wakes one goroutine, which receives from it. Signals that are set before the goroutine receives collapse into one.
type Signal chan struct{}

// New returns a signal that is not set.
func New() Signal { return make(Signal, 1) }

// Set sets the signal. It never blocks.
func (s Signal) Set() {
	select {
	case s <- struct{}{}:
	default:
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
