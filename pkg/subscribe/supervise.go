package subscribe

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/internal/guard"
)

// backoff returns the pauses between attempts.
func (s *Subscriber) backoff() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: s.cfg.RetryInitial, MaxInterval: s.cfg.RetryMax, Multiplier: 2, RandomizationFactor: 0.5,
	}
	b.Reset()
	return b
}

// keep calls run until the subscriber is closed, again with a backoff whenever run fails or panics. part names it in the log.
func (s *Subscriber) keep(part string, run func(context.Context) error) {
	pauses := s.backoff()
	for {
		began := time.Now()
		err := guard.Try(func() error { return run(s.ctx) })
		if s.ctx.Err() != nil {
			return
		}
		if time.Since(began) > s.cfg.RetryMax {
			pauses.Reset()
		}
		pause := pauses.NextBackOff()
		s.cfg.Log.Error("a part of the subscriber ended and is started again", "part", part, "error", err, "retry_in", pause, "stack", guard.Stack(err))
		if !pauseFor(s.ctx, pause, nil) {
			return
		}
	}
}

// pauseFor waits for d or for wake, and reports whether ctx has not ended.
func pauseFor(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
