// Package roundrobin reads the newest version of every dataset with calls that may be too short to read all of them.
package roundrobin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sourcegraph/conc"

	"freshet.dev/pkg/dataset"
)

// concurrency is the number of datasets that a call reads at a time. S3 then answers for a thousand datasets in a second or two.
const concurrency = 16

// Reader starts each call of Read where the call before ended. Without that, a store that is too slow to read all datasets before ctx
// ends would leave out the same datasets each time. The zero value is ready for use.
type Reader struct {
	mu   sync.Mutex
	next string // the first name that the last call had no time for; guarded by mu
}

// Read calls read for every name until ctx ends, several at a time. A dataset of version 0 has no version, and is in neither map. The
// map unread has the error of each dataset that was not read.
func (r *Reader) Read(ctx context.Context, names []string, read func(name string) (dataset.Ref, error)) (newest map[string]dataset.Ref, unread map[string]error) {
	slices.Sort(names)
	r.mu.Lock()
	from, _ := slices.BinarySearch(names, r.next)
	r.mu.Unlock()
	names = slices.Concat(names[from:], names[:from])
	newest, unread = make(map[string]dataset.Ref, len(names)), map[string]error{}
	var mu sync.Mutex // guards started, next, newest and unread
	started, next := 0, len(names)
	start := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if started == len(names) || ctx.Err() != nil {
			return 0, false
		}
		started++
		return started - 1, true
	}
	var workers conc.WaitGroup
	for range min(concurrency, len(names)) {
		workers.Go(func() {
			for i, ok := start(); ok; i, ok = start() {
				name := names[i]
				ref, err := read(name)
				mu.Lock()
				switch {
				case err != nil:
					unread[name] = err
					// The first reads had the whole time of the call. One of them that hangs must not also delay the next call.
					if ctx.Err() != nil && i >= concurrency {
						next = min(next, i)
					}
				case ref.Version > 0:
					newest[name] = ref
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	for _, name := range names[started:] {
		unread[name] = fmt.Errorf("there was no time left to read the newest of %d datasets: %w", len(names), context.Cause(ctx))
	}
	if next = min(next, started); next < len(names) {
		r.mu.Lock()
		r.next = names[next]
		r.mu.Unlock()
	}
	return newest, unread
}
