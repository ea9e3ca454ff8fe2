package backoff_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/wake"
)

func TestPausesDouble(t *testing.T) {
	b := backoff.New(time.Second, 8*time.Second)
	for round := range 2 {
		for i, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
			if got := b.Next(); got < want*time.Second/2 || got > want*time.Second*3/2 {
				t.Errorf("round %d: pause %d is %v, want about %d s", round, i+1, got, want)
			}
		}
		b.Reset()
	}
}

var (
	errTemporary = errors.New("temporary")
	errPermanent = errors.New("permanent")
)

func temporary(err error) bool { return !errors.Is(err, errPermanent) }

func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		errs  []error // of the attempts; the last one repeats
		want  error
		tries int
	}{
		"success at once":         {[]error{nil}, nil, 1},
		"success after failures":  {[]error{errTemporary, errTemporary, nil}, nil, 3},
		"permanent after failure": {[]error{errTemporary, errPermanent}, errPermanent, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := backoff.New(time.Second, time.Minute).Retry(t.Context(), temporary, func() error {
					tries++
					return c.errs[min(tries, len(c.errs))-1]
				})
				if !errors.Is(err, c.want) || tries != c.tries {
					t.Errorf("%v after %d tries, want %v after %d", err, tries, c.want, c.tries)
				}
			})
		})
	}
}

// Invariant: after the end of ctx, the error has its cause and the last error before, not the errors that the end caused.
func TestRetryUntilTheEndOfCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the process stops")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		err := backoff.New(time.Second, 7*time.Second).Retry(ctx, temporary, func() error {
			wake.Wait(ctx, time.Second, nil)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errTemporary
		})
		if !errors.Is(err, cause) || !errors.Is(err, errTemporary) || strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			t.Errorf("the error is %v", err)
		}
		err = backoff.New(time.Second, time.Second).Retry(ctx, temporary, func() error { return cause })
		if err != cause { //nolint:errorlint // no wrapping of the cause in itself
			t.Errorf("the error is %v", err)
		}
	})
}
