package keep

import (
	"context"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
)

// Loop runs the Collector in the background.
type Loop struct {
	// Every is the time from the end of one run to the next. The first run comes after that time too.
	Every time.Duration
	// By is who the journal names.
	By string
	// Done is called after each run; it may be nil. It should return soon.
	Done func(r *Report, took time.Duration, err error)
}

// Run runs until ctx ends, and then returns nil. A run that fails or panics is reported to Done, and the next one comes as usual.
func (l Loop) Run(ctx context.Context, c *Collector) error {
	for wake.Wait(ctx, l.Every, nil) {
		began := time.Now()
		var report *Report
		err := guard.Try(func() (err error) {
			report, err = c.Run(ctx, Request{By: l.By})
			return err
		})
		if ctx.Err() != nil {
			break
		}
		if l.Done != nil {
			l.Done(report, time.Since(began), err)
		}
	}
	return nil
}
