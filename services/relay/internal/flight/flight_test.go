package flight_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/services/relay/internal/flight"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A thousand callers share one call.
func TestConcurrentCallersShareOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		g := flight.New(func(context.Context, string) (int, error) {
			runs.Add(1)
			<-time.After(time.Second)
			return 42, nil
		})
		defer g.Close()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if v, err := g.Do(t.Context(), "k"); v != 42 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 {
			t.Errorf("%d calls", runs.Load())
		}
	})
}

// The context of the caller that started the call ends; a caller that joined it still gets the result.
func TestTheFirstCallerHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := flight.New(func(ctx context.Context, _ string) (int, error) {
			<-time.After(time.Second)
			return 1, ctx.Err()
		})
		defer g.Close()
		ctx, hangUp := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := g.Do(ctx, "k"); !errors.Is(err, gone) {
				t.Errorf("the first caller got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if v, err := g.Do(t.Context(), "k"); v != 1 || err != nil {
				t.Errorf("the second caller got %d, %v", v, err)
			}
		})
		synctest.Wait()
		hangUp(gone)
		wg.Wait()
	})
}

func TestNoCallerWaitsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		g := flight.New(func(ctx context.Context, _ string) (int, error) {
			<-time.After(time.Second)
			ended <- ctx.Err()
			return 1, nil
		})
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := g.Do(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the call's context ended with its caller: %v", err)
		}
	})
}

func TestFailuresReachEveryWaiterAndAreForgotten(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		work func() error
		want error
		text string
	}{
		"error":  {func() error { return broken }, broken, "broken"},
		"panic":  {func() error { panic("boom") }, flight.ErrPanic, "flight_test.go"},
		"goexit": {func() error { runtime.Goexit(); return nil }, flight.ErrPanic, "ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				g := flight.New(func(context.Context, string) (int, error) {
					if runs.Add(1) > 1 {
						return 7, nil
					}
					<-time.After(time.Second)
					return 0, c.work()
				})
				defer g.Close()
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						if _, err := g.Do(t.Context(), "k"); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
							t.Errorf("error is %v", err)
						}
					})
				}
				wg.Wait()
				if v, err := g.Do(t.Context(), "k"); v != 7 || err != nil {
					t.Errorf("the next caller got %d, %v", v, err)
				}
			})
		})
	}
}

func TestClose(t *testing.T) {
	begun := make(chan struct{})
	g := flight.New(func(ctx context.Context, _ string) (int, error) {
		close(begun)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	done := make(chan error, 1)
	go func() {
		_, err := g.Do(context.Background(), "k")
		done <- err
	}()
	<-begun
	g.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller got %v", err)
	}
	if _, err := g.Do(t.Context(), "k"); !errors.Is(err, flight.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
