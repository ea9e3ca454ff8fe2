package store

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sourcegraph/conc"

	"freshet.dev/pkg/dataset"
)

// newestLanes is how many datasets Newest reads at a time: a thousand then take a second or two from S3.
const newestLanes = 16

// rounds has each call of Newest begin where the last one ended. In a store that is too slow to read all datasets before ctx
// ends, the same ones would be left out each time otherwise. The zero value is ready for use.
type rounds struct {
	mu   sync.Mutex
	next string // the first name that the last call had no time for; guarded by mu
}

// read calls look for every name until ctx ends, several at a time. A name with the version 0 has none.
func (r *rounds) read(ctx context.Context, names []string, look func(name string) (dataset.Ref, error)) (newest map[string]dataset.Ref, unread map[string]error) {
	slices.Sort(names)
	r.mu.Lock()
	from, _ := slices.BinarySearch(names, r.next)
	r.mu.Unlock()
	names = slices.Concat(names[from:], names[:from])
	newest, unread = make(map[string]dataset.Ref, len(names)), map[string]error{}
	var mu sync.Mutex // guards what follows, newest and unread
	begun, next := 0, len(names)
	begin := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if begun == len(names) || ctx.Err() != nil {
			return 0, false
		}
		begun++
		return begun - 1, true
	}
	var lanes conc.WaitGroup
	for range min(newestLanes, len(names)) {
		lanes.Go(func() {
			for i, ok := begin(); ok; i, ok = begin() {
				name := names[i]
				ref, err := look(name)
				mu.Lock()
				switch {
				case err != nil:
					unread[name] = err
					// One of the first had all the time there was: should it hang, it must not hold up the next call as well.
					if ctx.Err() != nil && i >= newestLanes {
						next = min(next, i)
					}
				case ref.Version > 0:
					newest[name] = ref
				}
				mu.Unlock()
			}
		})
	}
	lanes.Wait()
	for _, name := range names[begun:] {
		unread[name] = fmt.Errorf("there was no time left to read the newest of %d datasets: %w", len(names), context.Cause(ctx))
	}
	if next = min(next, begun); next < len(names) {
		r.mu.Lock()
		r.next = names[next]
		r.mu.Unlock()
	}
	return newest, unread
}
