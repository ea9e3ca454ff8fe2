package roundrobin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// In a store that takes a second to read a dataset, or hangs, calls that end after five seconds reach every dataset that does not hang.
func TestReadReachesEveryDataset(t *testing.T) {
	for _, tc := range []struct{ datasets, hang, from int }{
		{200, 0, 0}, {160, 0, 0}, {161, 1, 7}, {200, concurrency, 0}, {200, concurrency, 100}, {20, concurrency, 4}, {5, 1, 0},
	} {
		t.Run(fmt.Sprintf("%d datasets, %d hang", tc.datasets, tc.hang), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var names []string
				for i := range tc.datasets {
					names = append(names, fmt.Sprintf("dataset-%03d", i))
				}
				hangs := map[string]bool{}
				for _, name := range names[tc.from : tc.from+tc.hang] {
					hangs[name] = true
				}
				var r Reader
				const calls = 30
				read := map[string]int{}
				for range calls {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					newest, unread := r.Read(ctx, append([]string(nil), names...), func(name string) (dataset.Ref, error) {
						var done <-chan time.Time
						if !hangs[name] {
							done = time.After(time.Second - time.Millisecond)
						}
						select {
						case <-done:
							return dataset.Ref{Version: 1}, nil
						case <-ctx.Done():
							return dataset.Ref{}, context.Cause(ctx)
						}
					})
					cancel()
					if len(newest)+len(unread) != len(names) {
						t.Fatalf("%d newest and %d unread of %d", len(newest), len(unread), len(names))
					}
					for name := range newest {
						read[name]++
					}
				}
				// A call has time for five reads of each worker, and every other call may start with the datasets that hang.
				least := min(calls/2, calls*5*concurrency/2/len(names)) - 1
				for _, name := range names {
					if n := read[name]; !hangs[name] && n < least {
						t.Errorf("%s was read %d times in %d calls, want %d", name, n, calls, least)
					}
				}
			})
		})
	}
}

// hanging is a store whose reads of some datasets return only after release. It fails the test if a dataset has two reads in flight.
type hanging struct {
	t              *testing.T
	hangs          func(name string) bool
	released       chan struct{}
	inFlight, most atomic.Int64
	mu             sync.Mutex
	reading        map[string]bool
}

func (h *hanging) read(name string) (dataset.Ref, error) {
	h.mu.Lock()
	if h.reading[name] {
		h.t.Errorf("%s has two reads in flight", name)
	}
	h.reading[name] = true
	h.most.Store(max(h.most.Load(), h.inFlight.Add(1)))
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.inFlight.Add(-1)
		h.reading[name] = false
	}()
	if h.hangs(name) {
		<-h.released
	}
	return dataset.Ref{Version: 1}, nil
}

// Reads that ignore the end of ctx do not keep a call from returning, whether some or all datasets hang. The next call starts no second
// read of them and does not wait for them. When the reads return, the datasets are read again.
func TestReadAbandonsReadsThatHang(t *testing.T) {
	for _, tc := range []struct {
		datasets, hang int
		second         time.Duration // how long the second call takes
	}{{40, 1, 0}, {40, concurrency - 1, 0}, {3, 3, 0}, {40, 40, 5 * time.Second}} {
		t.Run(fmt.Sprintf("%d of %d hang", tc.hang, tc.datasets), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var names []string
				for i := range tc.datasets {
					names = append(names, fmt.Sprintf("dataset-%03d", i))
				}
				h := &hanging{t: t, released: make(chan struct{}), reading: map[string]bool{}}
				h.hangs = func(name string) bool { i := slices.Index(names, name); return i >= 0 && i < tc.hang }
				var r Reader
				call := func() (newest map[string]dataset.Ref, unread map[string]error, took time.Duration) {
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					newest, unread = r.Read(ctx, slices.Clone(names), h.read)
					return newest, unread, time.Since(began)
				}
				for i, most := range []time.Duration{5 * time.Second, tc.second, tc.second} {
					newest, unread, took := call()
					if len(newest) != tc.datasets-tc.hang || len(unread) != tc.hang || took > most+grace {
						t.Errorf("call %d: %d newest and %d unread of %d in %s, want %d unread in %s", i+1, len(newest), len(unread), tc.datasets, took, tc.hang, most)
					}
					hang := 0
					for _, err := range unread {
						if strings.Contains(err.Error(), "hangs since 2000-01-01T00:00:0") {
							hang++
						}
					}
					if i > 0 && hang != min(tc.hang, concurrency) {
						t.Errorf("call %d: the errors are %v", i+1, unread)
					}
				}
				if n := h.most.Load(); n > concurrency {
					t.Errorf("%d reads were in flight, want at most %d", n, concurrency)
				}
				close(h.released)
				synctest.Wait()
				if newest, unread, _ := call(); len(newest) != tc.datasets {
					t.Errorf("after the reads returned: %d newest, and unread are %v", len(newest), unread)
				}
			})
		})
	}
}

// A call without a deadline returns when nothing but reads that hang is left, and another call does not wait for its reads.
func TestReadWithoutDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{t: t, released: make(chan struct{}), reading: map[string]bool{}, hangs: func(name string) bool { return name == "b" }}
		defer close(h.released)
		var r Reader
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				newest, unread := r.Read(t.Context(), []string{"c", "b", "a"}, h.read)
				if len(newest) != 2 || unread["b"] == nil {
					t.Errorf("newest are %v, unread %v", newest, unread)
				}
			})
		}
		calls.Wait()
	})
}

// A read that hangs is not an error of the deadline: more time does not help. A call that waits for a read of another call has too little
// time, unless that call has abandoned the read.
func TestReadSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{t: t, released: make(chan struct{}), reading: map[string]bool{}, hangs: func(string) bool { return true }}
		defer close(h.released)
		var r Reader
		within := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, unread := r.Read(ctx, []string{"a"}, h.read)
			return unread["a"]
		}
		var calls sync.WaitGroup
		calls.Go(func() {
			if err := within(5 * time.Second); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "does not return") {
				t.Errorf("the error of the read that hangs is %v", err)
			}
		})
		synctest.Wait()
		if err := within(time.Second); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "hangs") {
			t.Errorf("the error during the other call is %v", err)
		}
		calls.Wait()
		if err := within(time.Second); err == nil || !strings.Contains(err.Error(), "hangs since") {
			t.Errorf("the error after the other call is %v", err)
		}
	})
}

// A panic of a read is the error of its dataset.
func TestReadPanics(t *testing.T) {
	var r Reader
	newest, unread := r.Read(t.Context(), []string{"a", "b"}, func(name string) (dataset.Ref, error) {
		if name == "a" {
			panic("broken")
		}
		return dataset.Ref{Version: 1}, nil
	})
	if err := unread["a"]; len(newest) != 1 || err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("newest are %v, unread %v", newest, unread)
	}
}
