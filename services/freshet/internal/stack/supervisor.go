package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/sourcegraph/conc/panics"
)

// supervisor starts parts one after the other and stops them in reverse order. It is used from one goroutine.
type supervisor struct {
	// ctx ends when the stack shall stop: because its user's ended, or with the failure of a part as the cause.
	ctx    context.Context
	cancel context.CancelCauseFunc
	stops  []func() error
}

func newSupervisor(ctx context.Context) *supervisor {
	ctx, cancel := context.WithCancelCause(ctx)
	return &supervisor{ctx: ctx, cancel: cancel}
}

// onStop has f called when the stack stops, before all that were given to onStop earlier.
func (s *supervisor) onStop(f func() error) { s.stops = append(s.stops, f) }

// service is a program of freshet.
type service interface {
	// Run serves until ctx ends.
	Run(ctx context.Context) error
	// Ready is closed once Addr is known.
	Ready() <-chan struct{}
	Addr() string
}

// run starts a service that listens on address, and returns its URL once it does.
func (s *supervisor) run(part, address string, svc service) (url string, err error) {
	// Not ended by s.ctx: parts stop one by one, each while what it needs still runs.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	ended := make(chan struct{})
	var failure error // written before ended is closed
	go func() {
		defer close(ended)
		if failure = guarded(ctx, part, address, svc); failure != nil {
			s.cancel(failure)
		}
	}()
	s.onStop(func() error {
		cancel()
		<-ended
		return failure
	})
	select {
	case <-svc.Ready():
		return "http://" + svc.Addr(), nil
	case <-ended:
		return "", failure
	case <-s.ctx.Done():
		return "", context.Cause(s.ctx)
	}
}

// guarded runs a service and says what was wrong with its end. A panic of one part is an error: the others are to be
// stopped in order.
func guarded(ctx context.Context, part, address string, svc service) (err error) {
	var catcher panics.Catcher
	catcher.Try(func() { err = svc.Run(ctx) })
	if r := catcher.Recovered(); r != nil {
		err = r.AsError()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &PortError{Part: part, Address: address}
	case err != nil:
		return fmt.Errorf("%s failed: %w", title(part), err)
	case ctx.Err() == nil:
		return fmt.Errorf("%s ended by itself", title(part))
	}
	return nil
}

// stop stops all parts. It returns what failed in them, with err unless that is but a consequence.
func (s *supervisor) stop(err error) error {
	cause := context.Cause(s.ctx)
	var failures error
	for _, f := range slices.Backward(s.stops) {
		failures = errors.Join(f(), failures)
	}
	s.cancel(nil)
	if cause != nil && errors.Is(failures, cause) {
		return failures // a part's failure ended the use, and err is a consequence
	}
	return errors.Join(err, failures)
}
