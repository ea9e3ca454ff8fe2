package load

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/table"
)

const (
	// restFactor is the pause after a collection, as a multiple of its duration. It bounds the CPU time of collections in a process with a
	// large heap, however often its datasets are refreshed.
	restFactor = 20
	// maxFreeShare is the share of the tables' bytes, as a divisor, that may stay free and resident after a collection. The Collector
	// releases memory above that. A refresh by a small delta needs less, and so does not allocate it again.
	maxFreeShare = 8
	// releaseEvery is the least time between two releases, unless a table was loaded from a snapshot. A release runs a second
	// collection of the whole heap, and the system zeroes the pages when they are used again.
	releaseEvery = time.Minute
)

// Collector runs the garbage collector after refreshes, in the background: a collection takes as long as the process's whole heap
// demands. It collects when enough bytes were replaced, after a full load, and within releaseEvery of any other refresh. It
// also releases the memory that a load and the deltas after it leave behind, which would otherwise stay at two or three times the table
// as long as the process runs.
type Collector struct {
	reclaimer table.Reclaimer
	due       wake.Signal // a collection is due
	refreshed wake.Signal // a collection is due within releaseEvery

	mu     sync.Mutex
	tables map[string]int64 // bytes by dataset, with those of roots; guarded by mu
	loaded bool             // a table was loaded from a snapshot since the last release; guarded by mu

	released time.Time // when memory was released last; only Run uses it
}

// NewCollector returns a Collector. It collects nothing until Run.
func NewCollector() *Collector {
	return &Collector{due: wake.New(), refreshed: wake.New(), tables: make(map[string]int64)}
}

// swapped records that t is served now, that roots hold so many bytes in addition, and that the given number of bytes was replaced. full is
// true if t was loaded from a snapshot. A nil Collector does nothing.
func (c *Collector) swapped(name string, t *table.Table, replaced, roots int64, full bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.tables[name] = t.Bytes() + roots
	c.loaded = c.loaded || full
	c.mu.Unlock()
	if full {
		replaced += t.Bytes() // a load leaves about as many bytes of garbage as its table has
	}
	c.refreshed.Set()
	if c.reclaimer.Replaced(replaced, c.bytes()) {
		c.due.Set()
	}
}

// bytes returns the bytes of all served tables and roots.
func (c *Collector) bytes() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, bytes := range c.tables {
		sum += bytes
	}
	return sum
}

// Run collects what is due until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	return c.run(ctx, runtime.GC, free, debug.FreeOSMemory)
}

// free returns how many bytes of the heap are free and resident.
func free() int64 {
	free := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(free)
	return int64(free[0].Value.Uint64())
}

func (c *Collector) run(ctx context.Context, collect func(), free func() int64, release func()) error {
	// later fires when the garbage is due that the writer of the cache folder and refreshes without a collection left.
	var later <-chan time.Time
	for {
		select {
		case <-c.due:
		case <-c.refreshed:
			if later == nil {
				later = time.After(releaseEvery)
			}
			continue
		case <-later:
			later = nil
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		collect()
		if free() > c.bytes()/maxFreeShare {
			if wait := c.releaseWait(began); wait <= 0 {
				release() // collects again, which frees the buffers in pools
				c.released = began
			} else if later == nil {
				later = time.After(wait)
			}
		}
		if !wake.Wait(ctx, restFactor*time.Since(began), nil) {
			return nil
		}
	}
}

// releaseWait returns how long to wait before memory may be released; 0 if it may be now, which also resets loaded.
func (c *Collector) releaseWait(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.released.Add(releaseEvery).Sub(now)
	if c.loaded || wait <= 0 {
		c.loaded = false
		return 0
	}
	return wait
}
