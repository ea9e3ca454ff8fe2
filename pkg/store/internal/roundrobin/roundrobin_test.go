package roundrobin

import (
	"context"
	"fmt"
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
