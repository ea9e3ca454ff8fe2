package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
)

// In a store in which reading one dataset takes a second, or hangs, calls that end after five get round to every dataset that
// does not hang.
func TestRoundsReachEveryDataset(t *testing.T) {
	for _, tc := range []struct{ datasets, hang, from int }{
		{200, 0, 0}, {160, 0, 0}, {161, 1, 7}, {200, newestLanes, 0}, {200, newestLanes, 100}, {20, newestLanes, 4}, {5, 1, 0},
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
				var r rounds
				const calls = 30
				read := map[string]int{}
				for range calls {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					newest, unread := r.read(ctx, append([]string(nil), names...), func(name string) (dataset.Ref, error) {
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
				// A call has time for five reads on each lane, and every other one may begin with those that hang.
				least := min(calls/2, calls*5*newestLanes/2/len(names)) - 1
				for _, name := range names {
					if n := read[name]; !hangs[name] && n < least {
						t.Errorf("%s was read %d times in %d calls, want %d", name, n, calls, least)
					}
				}
			})
		})
	}
}

// ending is a context that ends when it was asked often enough.
type ending struct {
	context.Context
	left atomic.Int64
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// A folder with more datasets than a call has time for is read by a few calls.
func TestNewestOfAFolderGoesOnWhereItEnded(t *testing.T) {
	s, err := Open(t.Context(), "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const datasets = 300
	for i := range datasets {
		rec := testRecord(1)
		rec.Dataset = fmt.Sprintf("dataset-%03d", i)
		if err := s.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	read := map[string]bool{}
	calls := 0
	for ; len(read) < datasets && calls < 100; calls++ {
		ctx := &ending{Context: t.Context()}
		ctx.left.Store(100)
		newest, unread, err := s.Newest(ctx)
		if err != nil || len(newest)+len(unread) != datasets {
			t.Fatalf("%d newest, %d unread, %v", len(newest), len(unread), err)
		}
		for name := range newest {
			read[name] = true
		}
	}
	if len(read) < datasets || calls < 2 {
		t.Errorf("after %d calls %d of %d datasets were read", calls, len(read), datasets)
	}
}
