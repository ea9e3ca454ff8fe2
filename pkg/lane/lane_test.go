package lane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/lane"
)

// narrow returns a lane of one place.
func narrow(queue int) *lane.Lane {
	return lane.New(lane.Config{Name: "cpu", Width: 1, Queue: queue, Wait: time.Minute, Hold: 100 * time.Millisecond})
}

// do starts a call of Do, which waits for all others of the bubble to block before it returns.
func do(t *testing.T, l *lane.Lane, wg *sync.WaitGroup, f func(context.Context)) {
	t.Helper()
	wg.Go(func() {
		if err := l.Do(t.Context(), func(ctx context.Context) error { f(ctx); return nil }); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func TestFullLaneRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(1)
		var wg sync.WaitGroup
		held := make(chan struct{})
		for range 2 {
			do(t, l, &wg, func(context.Context) { <-held })
		}
		var shed *lane.ShedError
		if err := l.Do(t.Context(), func(context.Context) error { return nil }); !errors.As(err, &shed) || shed.RetryAfter < time.Second {
			t.Fatalf("a third call: %v", err)
		}
		close(held)
		wg.Wait()
		if s := l.Stats(); s.ShedQueue != 1 || s.User.Run.Count != 2 || s.User.Running+s.User.Waiting != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A call that waits for longer than Config.Wait is refused, and leaves the queue to others.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lane.New(lane.Config{Name: "cpu", Width: 1, Queue: 1, Wait: 2 * time.Second})
		var wg sync.WaitGroup
		held := make(chan struct{})
		do(t, l, &wg, func(context.Context) { <-held })
		began := time.Now()
		err := l.Do(t.Context(), func(context.Context) error { return nil })
		if waited := time.Since(began); !errors.Is(err, lane.ErrShed) || waited != 2*time.Second {
			t.Fatalf("after %s: %v", waited, err)
		}
		ran := false
		do(t, l, &wg, func(context.Context) { ran = true })
		close(held)
		wg.Wait()
		if s := l.Stats(); !ran || s.ShedWait != 1 || s.ShedQueue != 0 || s.User.Wait.Count != 2 {
			t.Errorf("ran: %v, stats %+v", ran, s)
		}
	})
}

func TestCallsRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(10)
		var wg sync.WaitGroup
		var order []int
		for i := range 10 {
			do(t, l, &wg, func(context.Context) { time.Sleep(time.Millisecond); order = append(order, i) })
		}
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("order %v", order)
		}
	})
}

// The end of a context takes a call out of the queue; a context that has ended runs nothing.
func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(1)
		cause := errors.New("the client left")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		held := make(chan struct{})
		do(t, l, &wg, func(context.Context) { <-held })
		wg.Go(func() {
			if err := l.Do(ctx, func(context.Context) error { return nil }); !errors.Is(err, cause) {
				t.Errorf("a call that waited: %v", err)
			}
		})
		wg.Go(func() {
			if _, _, err := l.Enter(ctx); !errors.Is(err, cause) {
				t.Errorf("Enter: %v", err)
			}
		})
		synctest.Wait()
		cancel(cause)
		synctest.Wait()
		if s := l.Stats(); s.User.Waiting != 0 || s.Own.Waiting != 0 || s.Canceled != 2 {
			t.Errorf("stats %+v", s)
		}
		close(held)
		wg.Wait()
		if err := l.Do(ctx, func(context.Context) error { t.Error("it ran"); return nil }); !errors.Is(err, cause) {
			t.Errorf("a call after the end: %v", err)
		}
	})
}

func TestPanicFreesThePlace(t *testing.T) {
	l := narrow(0)
	for range 3 {
		func() {
			defer func() {
				if r := recover(); r != "broken" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = l.Do(t.Context(), func(context.Context) error { panic("broken") })
		}()
	}
	if s := l.Stats(); s.User.Running != 0 || s.User.Run.Count != 3 {
		t.Errorf("stats %+v", s)
	}
}

// A call inside a function of the lane runs in its place, also through the other lane; after the function it is a call of its own.
func TestCallsInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cpu, io := narrow(0), narrow(0)
		var kept context.Context
		calls := 0
		if err := cpu.Do(t.Context(), func(ctx context.Context) error {
			kept = ctx
			return io.Do(ctx, func(ctx context.Context) error {
				return cpu.Do(ctx, func(ctx context.Context) error {
					_, leave, err := io.Enter(ctx)
					if err != nil {
						return err
					}
					leave()
					calls++
					if s := cpu.Stats(); s.User.Running != 1 {
						t.Errorf("stats %+v", s)
					}
					return nil
				})
			})
		}); err != nil || calls != 1 {
			t.Fatalf("%d calls, %v", calls, err)
		}
		var wg sync.WaitGroup
		held := make(chan struct{})
		do(t, cpu, &wg, func(context.Context) { <-held })
		if err := cpu.Do(kept, func(context.Context) error { return nil }); !errors.Is(err, lane.ErrShed) {
			t.Errorf("a call with the context of a function that has returned: %v", err)
		}
		lane.Yield(kept)
		close(held)
		wg.Wait()
	})
}

func TestSetWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(8)
		var wg sync.WaitGroup
		for range 3 {
			do(t, l, &wg, func(ctx context.Context) { compute(ctx, 30*time.Millisecond) })
		}
		check := func(running, waiting int) {
			t.Helper()
			synctest.Wait()
			if s := l.Stats(); s.User.Running != running || s.User.Waiting != waiting {
				t.Errorf("%d functions run and %d wait, want %d and %d", s.User.Running, s.User.Waiting, running, waiting)
			}
		}
		check(1, 2)
		l.SetWidth(3)
		check(3, 0)
		l.SetWidth(0) // one
		time.Sleep(time.Millisecond)
		check(1, 2)
		wg.Wait()
		check(0, 0)
	})
}

// Functions of Do leave the reserved places to Enter.
func TestReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lane.New(lane.Config{Name: "io", Width: 5, Reserved: 3, Queue: 8, Wait: time.Minute})
		var wg sync.WaitGroup
		held := make(chan struct{})
		for range 4 {
			do(t, l, &wg, func(context.Context) { <-held })
		}
		var leaves []func()
		for range 3 {
			_, leave, err := l.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leave)
		}
		if s := l.Stats(); s.User.Running != 2 || s.User.Waiting != 2 || s.Own.Running != 3 {
			t.Errorf("stats %+v", s)
		}
		leaves[0]() // to no function of Do
		leaves[0]()
		synctest.Wait()
		if s := l.Stats(); s.User.Running != 2 || s.Own.Running != 2 {
			t.Errorf("stats %+v", s)
		}
		leaves[1]()
		leaves[2]()
		close(held)
		wg.Wait()
	})
}

func TestNilLane(t *testing.T) {
	var l *lane.Lane
	ctx, leave, err := l.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lane.Yield(ctx)
	leave()
	if err := l.Do(t.Context(), func(context.Context) error { return lane.ErrShed }); !errors.Is(err, lane.ErrShed) {
		t.Error(err)
	}
	l.SetWidth(2)
	if s := l.Stats(); s != (lane.Stats{}) {
		t.Errorf("stats %+v", s)
	}
}

// The histograms have the time that a function waited, and the time that it had a place.
func TestHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		for range 2 {
			do(t, l, &wg, func(ctx context.Context) { compute(ctx, 30*time.Millisecond) })
		}
		wg.Wait()
		s := l.Stats().User
		if s.Wait.Count != 2 || s.Wait.Sum != 10*time.Millisecond || s.Run.Count != 2 || s.Run.Sum != 60*time.Millisecond {
			t.Errorf("waits %+v, runs %+v", s.Wait, s.Run)
		}
		for i, bound := range lane.Buckets {
			want := map[bool]uint64{false: 0, true: 2}[bound >= 30*time.Millisecond]
			if s.Run.Counts[i] != want {
				t.Errorf("%d runs of up to %s, want %d", s.Run.Counts[i], bound, want)
			}
		}
	})
}

// Whatever functions do, the lane never runs more at a time than it has places, and none is lost.
func TestManyFunctions(t *testing.T) {
	const width = 3
	l := lane.New(lane.Config{Name: "cpu", Width: width, Queue: 1000, Wait: time.Minute})
	var running, most, ran atomic.Int64
	inside := func(ctx context.Context) {
		for i := range 50 {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			for j := range 2000 {
				_ = fmt.Sprint(i, j)
			}
			running.Add(-1)
			lane.Yield(ctx)
		}
		ran.Add(1)
	}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if i%3 == 0 {
				ctx, leave, err := l.Enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				inside(ctx)
				return
			}
			if err := l.Do(t.Context(), func(ctx context.Context) error { inside(ctx); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := l.Stats()
	if most.Load() > width || ran.Load() != 60 || s.Own.Running+s.User.Running+s.Own.Waiting+s.User.Waiting+s.Astray != 0 {
		t.Errorf("%d ran, %d at a time; stats %+v", ran.Load(), most.Load(), s)
	}
}
