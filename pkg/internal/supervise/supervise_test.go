package supervise_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/supervise"
)

// Invariants: the function runs again after an error, a panic and a return without an error. Pauses grow, and are short again
// after a long call. The end of ctx is not a failure.
func TestRunRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		broken := errors.New("broken")
		calls := 0
		var errs []error
		var pauses []time.Duration
		supervise.Run(ctx, time.Second, time.Minute, func(ctx context.Context) error {
			calls++
			switch calls {
			case 1:
				return broken
			case 2:
				panic("out of range")
			case 3, 4:
				return nil
			case 5:
				<-time.After(2 * time.Minute)
				return broken
			}
			cancel()
			return ctx.Err()
		}, func(err error, pause time.Duration) { errs, pauses = append(errs, err), append(pauses, pause) })

		if calls != 6 || len(errs) != 5 {
			t.Fatalf("%d calls, %d failures: %v", calls, len(errs), errs)
		}
		if !errors.Is(errs[0], broken) || guard.Stack(errs[1]) == "" || errs[2] != nil || errs[3] != nil || !errors.Is(errs[4], broken) {
			t.Errorf("the errors are %v", errs)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 1} {
			if pauses[i] < want*time.Second/2 || pauses[i] > want*time.Second*3/2 {
				t.Errorf("pause %d is %v, want about %d s", i+1, pauses[i], want)
			}
		}
	})
}

func TestRunEndsInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		supervise.Run(ctx, time.Hour, time.Hour, func(context.Context) error { return nil }, func(error, time.Duration) {})
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Run returns after %v", took)
		}
	})
}
