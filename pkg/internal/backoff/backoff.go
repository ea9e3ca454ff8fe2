// Package backoff computes the pauses between attempts, and retries an operation with them.
package backoff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/wake"
	"github.com/cenkalti/backoff/v5"
)

// Backoff returns the pauses between attempts: the first pause, then twice as long each time up to the longest. Each pause
// has a jitter of plus or minus half, so that processes that failed together do not retry together. A Backoff is for one
// goroutine at a time.
type Backoff struct{ policy backoff.ExponentialBackOff }

// New returns a Backoff with the given first and longest pause.
func New(first, longest time.Duration) *Backoff {
	b := &Backoff{backoff.ExponentialBackOff{
		InitialInterval: first, MaxInterval: longest, Multiplier: 2, RandomizationFactor: 0.5,
	}}
	b.Reset()
	return b
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration { return b.policy.NextBackOff() }

// Reset makes the next pause the first one again. Call it after a success.
func (b *Backoff) Reset() { b.policy.Reset() }

// Retry calls try until it succeeds, until temporary returns false for its error, or until ctx ends. In the last case the
// error wraps ctx's cause and the last error of try that the end of ctx did not cause.
func (b *Backoff) Retry(ctx context.Context, temporary func(error) bool, try func() error) error {
	var last error
	for {
		err := try()
		if err == nil || !temporary(err) {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if ctx.Err() == nil && wake.Wait(ctx, b.Next(), nil) {
			continue
		}
		cause := context.Cause(ctx)
		if errors.Is(last, cause) {
			return cause
		}
		return fmt.Errorf("%w, after: %w", cause, last)
	}
}
