package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sourcegraph/conc/panics"
)

// supervisor starts parts one after the other and stops them in reverse order. It is not safe for concurrent use.
type supervisor struct {
	// ctx ends when the stack must stop: with the caller's context, or when a part fails, whose error is then the cause.
	ctx    context.Context
	cancel context.CancelCauseFunc
	stops  []func() error
}

func newSupervisor(ctx context.Context) *supervisor {
	ctx, cancel := context.WithCancelCause(ctx)
	return &supervisor{ctx: ctx, cancel: cancel}
}

// onStop registers f to be called when the stack stops, before the functions registered earlier.
func (s *supervisor) onStop(f func() error) { s.stops = append(s.stops, f) }

// service is a program of freshet.
type service interface {
	// Run serves until ctx ends.
	Run(ctx context.Context) error
	// Ready returns a channel that is closed when Addr is known.
	Ready() <-chan struct{}
	Addr() string
}

// run starts a service and returns its URL when the service listens on address.
func (s *supervisor) run(part, address string, svc service) (url string, err error) {
	// Without the end of s.ctx: each part must stop before the parts that it depends on.
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

// guarded runs a service until ctx ends and returns an error for any other end. A panic becomes an error, so that the other parts
// stop in order.
func guarded(ctx context.Context, part, address string, svc service) (err error) {
	var catcher panics.Catcher
	catcher.Try(func() { err = svc.Run(ctx) })
	if r := catcher.Recovered(); r != nil {
		err = r.AsError()
	}
	switch {
	case inUse(err, address):
		return &PortError{Part: part, Address: address}
	case err != nil:
		return fmt.Errorf("%s failed: %w", title(part), err)
	case ctx.Err() == nil:
		return fmt.Errorf("%s stopped unexpectedly", title(part))
	}
	return nil
}

// inUse reports whether err means that another program listens on the port of address. A server has a second port, whose error names its setting.
func inUse(err error, address string) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
		return false
	}
	at, ok := op.Addr.(*net.TCPAddr)
	return ok && strings.HasSuffix(address, ":"+strconv.Itoa(at.Port))
}

// stop stops all parts. It returns their errors, joined with err unless the failure of a part caused err.
func (s *supervisor) stop(err error) error {
	cause := context.Cause(s.ctx)
	var failures error
	for _, f := range slices.Backward(s.stops) {
		failures = errors.Join(f(), failures)
	}
	s.cancel(nil)
	if cause != nil && errors.Is(failures, cause) {
		return failures // the failure of a part ended the context of use and so caused err
	}
	return errors.Join(err, failures)
}
