package lane_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/lane"
)

// compute computes for d, as far as a bubble can show it, and yields every millisecond.
func compute(ctx context.Context, d time.Duration) {
	for range d / time.Millisecond {
		time.Sleep(time.Millisecond)
		lane.Yield(ctx)
	}
}

// notes is a list that functions may extend at the same time.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(note string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, note)
}

func TestOwnWorkComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		var order []string
		do(t, l, &wg, func(ctx context.Context) {
			for range 3 {
				time.Sleep(2 * time.Millisecond)
				lane.Yield(ctx)
				order = append(order, "scan")
			}
		})
		time.Sleep(time.Millisecond)
		_, leave, err := l.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, "refresh")
		leave()
		wg.Wait()
		if want := []string{"refresh", "scan", "scan", "scan"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

// Refreshes that always wait for a place leave every ninth to Do.
func TestRefreshesLeaveAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		units := 0
		for range 4 {
			wg.Go(func() {
				for {
					_, leave, err := l.Enter(ctx)
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond)
					units++
					leave()
				}
			})
		}
		synctest.Wait()
		do(t, l, &wg, func(ctx context.Context) { compute(ctx, 20*time.Millisecond); cancel() })
		wg.Wait()
		if units < 20*8-16 || units > 20*8+16 {
			t.Errorf("%d units of refreshes during 20 milliseconds of a function, want about 160", units)
		}
	})
}

// Functions take turns, a Slice at a time; a refresh that yields also leaves slices to them.
func TestYieldPassesSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		var order []string
		note := func(name string) {
			if len(order) == 0 || order[len(order)-1] != name {
				order = append(order, name)
			}
		}
		long := func(name string) func(context.Context) {
			return func(ctx context.Context) {
				for range 30 {
					time.Sleep(time.Millisecond)
					note(name)
					lane.Yield(ctx)
				}
			}
		}
		do(t, l, &wg, long("a"))
		do(t, l, &wg, long("b"))
		wg.Wait()
		if want := []string{"a", "b", "a", "b", "a", "b"}; !slices.Equal(order, want) {
			t.Errorf("order of two functions %v, want %v", order, want)
		}

		order = nil
		wg.Go(func() {
			ctx, leave, err := l.Enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			long("refresh")(ctx)
		})
		synctest.Wait()
		do(t, l, &wg, func(context.Context) { time.Sleep(time.Millisecond); note("a") })
		wg.Wait()
		if want := []string{"refresh", "a", "refresh"}; !slices.Equal(order, want) {
			t.Errorf("order of a refresh and a function %v, want %v", order, want)
		}
	})
}

// A function that waits in Yield when its context ends goes on without a place, and another function of Do does not run beside it.
func TestContextEndsInYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var order notes // functions without a place run at the same time as others
		goOn := make(chan struct{})
		wg.Go(func() {
			if err := l.Do(ctx, func(ctx context.Context) error {
				time.Sleep(2 * time.Millisecond)
				lane.Yield(ctx) // passes the place to the refresh
				order.add("canceled")
				lane.Yield(ctx)
				<-goOn
				return context.Cause(ctx)
			}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		_, leave, err := l.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		do(t, l, &wg, func(context.Context) { order.add("next") })
		leave()
		synctest.Wait()
		s := l.Stats()
		if s.Astray != 1 || s.User.Running != 0 || s.User.Waiting != 1 || s.Canceled != 0 {
			t.Errorf("without a place: %+v", s)
		}
		if _, leave, err := l.Enter(t.Context()); err != nil { // a refresh does
			t.Error(err)
		} else {
			leave()
		}
		close(goOn)
		wg.Wait()
		if want := []string{"canceled", "next"}; !slices.Equal(order.list, want) || l.Stats().Astray != 0 {
			t.Errorf("order %v, want %v; stats %+v", order.list, want, l.Stats())
		}
	})
}

// A function that does not yield keeps refreshes waiting for Config.Hold, and then waits at its next Yield. Further functions of Do do not
// join it.
func TestHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		var order notes // functions without a place run at the same time as others
		do(t, l, &wg, func(ctx context.Context) {
			time.Sleep(time.Second) // does not yield
			order.add("hog")
			lane.Yield(ctx)
			order.add("hog has a place again")
		})
		do(t, l, &wg, func(context.Context) { order.add("function") })
		began := time.Now()
		_, leave, err := l.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 100*time.Millisecond {
			t.Errorf("the refresh waited %s", waited)
		}
		order.add("refresh")
		leave()
		synctest.Wait()
		if s := l.Stats(); s.Astray != 1 || s.User.Waiting != 1 || s.Held != 1 {
			t.Errorf("stats %+v", s)
		}
		wg.Wait()
		if want := []string{"refresh", "hog", "function", "hog has a place again"}; !slices.Equal(order.list, want) {
			t.Errorf("order %q, want %q", order.list, want)
		}
		if s := l.Stats(); s.Astray != 0 || s.User.Running != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A function of Do that does not yield keeps its place while only functions of Do wait.
func TestFunctionsKeepTheirPlaceFromOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		began := time.Now()
		do(t, l, &wg, func(context.Context) { time.Sleep(time.Second) })
		if err := l.Do(t.Context(), func(context.Context) error {
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("the other function began after %s", waited)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if s := l.Stats(); s.Held != 0 || s.Astray != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Config.Hold counts from the last yield, and not from the call that waits: a caller with less patience gets the place in a later attempt.
func TestHoldCountsFromTheYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		var wg sync.WaitGroup
		do(t, l, &wg, func(context.Context) { time.Sleep(time.Second) })
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			_, leave, err := l.Enter(ctx)
			cancel()
			if err == nil {
				leave()
				break
			}
		}
		if waited := time.Since(began); waited != 100*time.Millisecond {
			t.Errorf("the refresh waited %s", waited)
		}
		wg.Wait()
	})
}

// Own work that hangs, as a decode function may, loses its place to functions of Do as well.
func TestOwnWorkThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(4)
		_, leave, err := l.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			began := time.Now()
			if err := l.Do(t.Context(), func(context.Context) error { return nil }); err != nil || time.Since(began) > 100*time.Millisecond {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		}
		leave()
		if s := l.Stats(); s.Held != 1 || s.Own.Running != 0 || s.Astray != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Goroutines of one function share its place, and may yield at the same time, also when its context ends.
func TestGoroutinesOfAFunction(t *testing.T) {
	l := narrow(100)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := l.Do(ctx, func(ctx context.Context) error {
				var children sync.WaitGroup
				for child := range 3 {
					children.Go(func() {
						for until := time.Now().Add(20 * time.Millisecond); time.Now().Before(until); {
							lane.Yield(ctx)
						}
						if i%2 == 0 && child == 0 {
							cancel()
						}
					})
				}
				children.Wait()
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := l.Stats(); s.User.Running+s.User.Waiting+s.Astray != 0 || s.User.Run.Count != 8 {
		t.Errorf("stats %+v", s)
	}
}
