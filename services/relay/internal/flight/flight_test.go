package flight_test

import (
	"context"
	"errors"
	"reflect"
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

// A thousand callers, one piece of work, and everyone gets a reference of its own.
func TestConcurrentCallersShareOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, references atomic.Int64
		g := flight.New(func(context.Context, string) (int, error) {
			runs.Add(1)
			<-time.After(time.Second)
			return 42, nil
		}, func(_ int, n int) { references.Add(int64(n)) })
		defer g.Close()
		var joined atomic.Int64
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v, j, err := g.Do(t.Context(), "k")
				if v != 42 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
				if j {
					joined.Add(1)
				}
			})
		}
		wg.Wait()
		if runs.Load() != 1 || joined.Load() != 999 || references.Load() != 1000 {
			t.Errorf("%d runs, %d joined, %d references", runs.Load(), joined.Load(), references.Load())
		}
	})
}

// The caller that began the work hangs up; who joined it still gets the result, and references are counted for those only.
func TestTheFirstCallerHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var references atomic.Int64
		g := flight.New(func(ctx context.Context, _ string) (int, error) {
			<-time.After(time.Second)
			return 1, ctx.Err()
		}, func(_ int, n int) { references.Add(int64(n)) })
		defer g.Close()
		ctx, hangUp := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, joined, err := g.Do(ctx, "k"); joined || !errors.Is(err, gone) {
				t.Errorf("the first got %v, joined %v", err, joined)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if v, joined, err := g.Do(t.Context(), "k"); v != 1 || !joined || err != nil {
				t.Errorf("the second got %d, %v, joined %v", v, err, joined)
			}
		})
		synctest.Wait()
		hangUp(gone)
		wg.Wait()
		if references.Load() != 1 {
			t.Errorf("%d references", references.Load())
		}
	})
}

func TestNobodyWaitsAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := make(chan int, 1)
		g := flight.New(func(context.Context, string) (int, error) {
			<-time.After(time.Second)
			return 1, nil
		}, func(_ int, n int) { shared <- n })
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := g.Do(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if n := <-shared; n != 0 {
			t.Errorf("%d references", n)
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
				}, nil)
				defer g.Close()
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						if _, _, err := g.Do(t.Context(), "k"); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
							t.Errorf("error is %v", err)
						}
					})
				}
				wg.Wait()
				if v, _, err := g.Do(t.Context(), "k"); v != 7 || err != nil {
					t.Errorf("the next got %d, %v", v, err)
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
	}, nil)
	done := make(chan error, 1)
	go func() {
		_, _, err := g.Do(context.Background(), "k")
		done <- err
	}()
	<-begun
	g.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the waiter got %v", err)
	}
	if _, _, err := g.Do(t.Context(), "k"); !errors.Is(err, flight.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Work is not begun ahead for what is there: should it come to run late, what is there may be gone, and is made anew for
// nobody.
func TestNothingIsBegunAheadForWhatIsThere(t *testing.T) {
	there := map[int]bool{1: true, 4: true}
	var worked [][]int
	g := flight.NewRuns(func(_ context.Context, keys []int, finish func(int, error)) {
		worked = append(worked, keys)
		for _, k := range keys {
			finish(k, nil)
		}
	}, nil, func(k int) bool { return there[k] })
	g.Ahead(1, 2)
	if v, _, err := g.Do(t.Context(), 3, 4, 5); v != 3 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	g.Close()
	if want := [][]int{{3}}; !reflect.DeepEqual(worked, want) {
		t.Errorf("worked for %v, want %v", worked, want)
	}
}
