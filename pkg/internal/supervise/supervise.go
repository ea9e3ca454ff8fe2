// Package supervise runs a function that must not end before its context, and restarts it after an error or a panic.
package supervise

import (
	"context"
	"time"

	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
)

// Run calls run until ctx ends. After each return of run, it calls failed with the error (a *guard.Panic after a panic, nil if
// run returned nil) and with the pause before the next call. Pauses double from first to longest, with jitter; they start
// again at first after a call of run that lasted more than longest.
func Run(ctx context.Context, first, longest time.Duration, run func(context.Context) error, failed func(err error, pause time.Duration)) {
	pauses := backoff.New(first, longest)
	for {
		start := time.Now()
		err := guard.Try(func() error { return run(ctx) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > longest {
			pauses.Reset()
		}
		pause := pauses.Next()
		failed(err, pause)
		if !wake.Wait(ctx, pause, nil) {
			return
		}
	}
}
