// Package roundrobin reads the newest version of every dataset with calls that may be too short to read all of them.
package roundrobin

import (
	"context"
	"slices"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

const (
	// concurrency is the number of reads in flight. S3 then answers for a thousand datasets in a second or two.
	concurrency = 16
	// grace is how long a call waits after its end for reads that return when ctx ends: their errors say more than the call's own.
	grace = 100 * time.Millisecond
	// stall ends a call in which no read returns for so long. Some callers have no deadline.
	stall = time.Minute
)

// Reader starts each call of Read where the call before ended. Without that, a store that is too slow to read all datasets before ctx
// ends would leave out the same datasets each time. The zero value is ready for use, by any number of goroutines.
//
// A read on a disk that hangs cannot be interrupted. Read abandons such a read and starts no second read of the dataset until the first
// one has returned. All calls together have at most 16 reads in flight, including abandoned ones. While 16 reads hang, no other dataset is
// read.
type Reader struct {
	mu    sync.Mutex
	next  string              // the first name that the last call had no time for
	reads map[string]*oneRead // the reads in flight
	ended chan struct{}       // closed when one of them returns; nil if no call waits for that
}

// oneRead is a read in flight. Its fields are guarded by Reader.mu.
type oneRead struct {
	began     time.Time
	abandoned bool // the call that started it has returned
}

// Read calls read for every name, several at a time, and returns when all calls have returned, when ctx ends, or when no call has
// returned for a minute. A dataset of version 0 has no version, and is in neither map. The map unread has the error of each dataset that
// was not read. The function read may still run after Read has returned; its result is then dropped.
func (r *Reader) Read(ctx context.Context, names []string, read func(name string) (dataset.Ref, error)) (newest map[string]dataset.Ref, unread map[string]error) {
	slices.Sort(names)
	r.mu.Lock()
	from, _ := slices.BinarySearch(names, r.next)
	r.mu.Unlock()
	c := &call{
		Reader: r, names: slices.Concat(names[from:], names[:from]), read: read,
		running: map[int]running{}, results: make(chan result, concurrency), next: len(names),
		newest: make(map[string]dataset.Ref, len(names)), unread: map[string]error{},
	}
	c.run(ctx)
	c.end(ctx)
	return c.newest, c.unread
}

// inFlight records a read that starts. The caller holds mu.
func (r *Reader) inFlight(name string) *oneRead {
	if r.reads == nil {
		r.reads = map[string]*oneRead{}
	}
	one := &oneRead{began: time.Now()}
	r.reads[name] = one
	return one
}

// finish frees the slot of a read and wakes the calls that wait for one.
func (r *Reader) finish(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reads, name)
	if r.ended != nil {
		close(r.ended)
		r.ended = nil
	}
}

// try calls read and returns a panic as an error: nothing recovers a panic of the goroutine.
func try(name string, read func(name string) (dataset.Ref, error)) (ref dataset.Ref, err error) {
	err = guard.Try(func() error { ref, err = read(name); return err })
	return ref, err
}
