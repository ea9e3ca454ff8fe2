package program

import (
	"context"
	"errors"
	"log/slog"
)

// Service returns a [Program.Run] that opens the dependencies named by cfg, creates the service, runs it and closes the
// dependencies. The returned function reads *cfg when it runs, after Main has loaded it.
func Service[C any, D interface{ Close() error }, S interface {
	Run(ctx context.Context) error
}](
	cfg *C,
	open func(ctx context.Context, cfg C, log *slog.Logger) (D, error),
	create func(cfg C, deps D) (S, error),
) func(ctx context.Context, log *slog.Logger) error {
	return func(ctx context.Context, log *slog.Logger) (err error) {
		deps, err := open(ctx, *cfg, log)
		if err != nil {
			return err // open has closed what it opened
		}
		defer func() { err = errors.Join(err, deps.Close()) }()
		s, err := create(*cfg, deps)
		if err != nil {
			return err
		}
		return s.Run(ctx)
	}
}
