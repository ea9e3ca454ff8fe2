package subscribe

import (
	"context"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/supervise"
)

// keep calls run until the subscriber is closed, again with a backoff whenever run ends, fails or panics. part names it in the log.
func (s *Subscriber) keep(part string, run func(context.Context) error) {
	supervise.Run(s.ctx, s.cfg.RetryInitial, s.cfg.RetryMax, run, func(err error, pause time.Duration) {
		s.cfg.Log.Error("a part of the subscriber ended and is started again", "part", part, "error", err, "retry_in", pause, "stack", guard.Stack(err))
	})
}
