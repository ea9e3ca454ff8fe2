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
	// large heap, however often its datasets are refreshed. If garbage reaches its bound, the pause is one duration: garbage as large as the
	// table would let the runtime collect at twice the heap.
	restFactor = 20
	// maxGarbageShare is the share of the tables' bytes, as a divisor, that replaced tables may take before the next refresh waits for a
	// collection, and leastGarbage the bytes that need no wait.
	maxGarbageShare = 8
	leastGarbage    = 16 << 20
	// maxWait is how long a refresh waits at most. It bounds the delay in a process whose other objects make a collection long.
	maxWait = 250 * time.Millisecond
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
// as long as the process runs. Refreshes that replace tables faster than it collects wait for it, see [Collector.wait].
type Collector struct {
	reclaimer table.Reclaimer
	due       wake.Signal    // a collection is due
	refreshed wake.Signal    // a collection is due within releaseEvery
	urgent    wake.Signal    // garbage has reached its bound
	collected wake.Broadcast // after a collection

	mu      sync.Mutex
	tables  map[string]int64 // bytes by dataset, with those of roots; guarded by mu
	garbage int64            // bytes replaced since a collection became due, and not collected yet; guarded by mu
	loaded  bool             // a table was loaded from a snapshot since the last release; guarded by mu
	running bool             // Run runs; guarded by mu

	released time.Time     // when memory was released last; only Run uses it
	patience time.Duration // maxWait, but in tests
}

// NewCollector returns a Collector. It collects nothing until Run.
func NewCollector() *Collector {
	return &Collector{
		due: wake.New(), refreshed: wake.New(), urgent: wake.New(), tables: make(map[string]int64), patience: maxWait,
	}
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
	due := c.reclaimer.Replaced(replaced, c.bytes())
	c.mu.Lock()
	defer c.mu.Unlock()
	if due || c.garbage > 0 {
		c.garbage += replaced
	}
	if c.full() {
		due = true
		c.urgent.Set()
	}
	if due {
		c.due.Set()
	}
}

// wait waits before a refresh while garbage has reached its bound, until a collection ends, for maxWait at most. Without it, refreshes that
// follow each other at once fill the heap up to twice its size, on a busy machine to more, and the runtime keeps that memory for a minute.
// A nil Collector, or one that does not run, waits for nothing.
func (c *Collector) wait(ctx context.Context) {
	if c == nil {
		return
	}
	if !c.overdue() {
		return
	}
	ctx, stop := context.WithTimeout(ctx, c.patience)
	defer stop()
	for {
		collected := c.collected.Next()
		if !c.overdue() {
			return
		}
		select {
		case <-collected:
		case <-ctx.Done():
			return
		}
	}
}

// overdue reports whether garbage has reached its bound and Run will collect it.
func (c *Collector) overdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running && c.full()
}

// full reports whether garbage has reached its bound. The caller holds mu.
func (c *Collector) full() bool { return c.garbage >= max(leastGarbage, c.sum()/maxGarbageShare) }

// bytes returns the bytes of all served tables and roots.
func (c *Collector) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum()
}

// sum is bytes for a caller that holds mu.
func (c *Collector) sum() (sum int64) {
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
	c.setRunning(true)
	defer c.setRunning(false)
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
		c.collect(collect)
		if free() > c.bytes()/maxFreeShare {
			if wait := c.releaseWait(began); wait <= 0 {
				release() // collects again, which frees the buffers in pools
				c.released = began
			} else if later == nil {
				later = time.After(wait)
			}
		}
		took := time.Since(began)
		if !wake.Wait(ctx, took, nil) || !wake.Wait(ctx, (restFactor-1)*took, c.urgent) {
			return nil
		}
	}
}

func (c *Collector) setRunning(running bool) {
	c.mu.Lock()
	c.running = running
	c.mu.Unlock()
	c.collected.Wake()
}

// collect calls f, a collection, and subtracts the garbage before it.
func (c *Collector) collect(f func()) {
	c.mu.Lock()
	before := c.garbage
	c.mu.Unlock()
	f()
	c.mu.Lock()
	if c.garbage -= before; !c.full() {
		select { // the signal was about the garbage before
		case <-c.urgent:
		default:
		}
	}
	c.mu.Unlock()
	c.collected.Wake()
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
