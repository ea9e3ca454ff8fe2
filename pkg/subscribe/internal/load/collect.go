package load

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"freshet.dev/pkg/table"
)

// collectRest is how many times as long as a collection took no other one is asked for: a service with much else in its
// memory spends little of its processors on it, however often its datasets are refreshed.
const collectRest = 20

// freeShare is the part of the tables' bytes that may be free and resident after a collection. More is given back to the
// system. A refresh by a small delta reuses less than that, and so does not have to ask for it again.
const freeShare = 8

// giveBackEvery is how often memory is given back to the system at the most when no table was loaded from a snapshot: that takes a
// second collection of all of the process's memory, and the system zeroes the pages that are needed again.
const giveBackEvery = time.Minute

// Collector runs the garbage collector when refreshes have replaced enough and after a full load, beside the lanes: it takes as
// long as all of the process's memory says, and no refresh may wait for that. It collects once more within a minute of a refresh. It gives the memory that a load and the deltas
// after it leave behind back to the system: two or three times the table otherwise, for as long as the process lives.
type Collector struct {
	reclaimer table.Reclaimer
	wake      chan struct{} // has room for one: a collection is due
	changed   chan struct{} // has room for one: a refresh came, and a collection is due within giveBackEvery

	mu     sync.Mutex
	tables map[string]int64 // bytes by dataset; guarded by mu
	loaded bool             // from a snapshot since memory was given back last; guarded by mu

	gave time.Time // when memory was given back last; for the goroutine of Run alone
}

// NewCollector returns a Collector. It collects nothing until Run.
func NewCollector() *Collector {
	return &Collector{wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), tables: make(map[string]int64)}
}

// swapped records that t is served now, and how many bytes can be freed with that. full says that it was loaded from a snapshot.
// A nil Collector does nothing.
func (c *Collector) swapped(name string, t *table.Table, replaced int64, full bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.tables[name] = t.Bytes()
	c.loaded = c.loaded || full
	c.mu.Unlock()
	if full {
		replaced += t.Bytes() // what a load leaves behind is about as large as what it makes
	}
	notify(c.changed)
	if c.reclaimer.Replaced(replaced, c.bytes()) {
		notify(c.wake)
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// bytes returns the bytes of all tables that are served.
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

// free returns how many bytes are free and resident.
func free() int64 {
	free := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(free)
	return int64(free[0].Value.Uint64())
}

func (c *Collector) run(ctx context.Context, collect func(), free func() int64, giveBack func()) error {
	// later is when to collect what refreshes that asked for no collection left, and what the writer of the cache folder left.
	var later <-chan time.Time
	for {
		select {
		case <-c.wake:
		case <-c.changed:
			if later == nil {
				later = time.After(giveBackEvery)
			}
			continue
		case <-later:
			later = nil
		case <-ctx.Done():
			return nil
		}
		begun := time.Now()
		collect()
		if free() > c.bytes()/freeShare {
			if wait := c.wait(begun); wait <= 0 {
				giveBack() // with another collection, which frees the buffers that pools hold for a while
				c.gave = begun
			} else if later == nil {
				later = time.After(wait)
			}
		}
		select {
		case <-time.After(collectRest * time.Since(begun)):
		case <-ctx.Done():
			return nil
		}
	}
}

// wait returns how long memory may not be given back yet. When it may, the loads until now count as done.
func (c *Collector) wait(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.gave.Add(giveBackEvery).Sub(now)
	if c.loaded || wait <= 0 {
		c.loaded = false
		return 0
	}
	return wait
}
