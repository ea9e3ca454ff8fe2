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

// Collector runs the garbage collector when refreshes have replaced enough and after a full load, beside the lanes: it takes as
// long as all of the process's memory says, and no refresh may wait for that. It gives the memory that a load and the deltas
// after it leave behind back to the system: two or three times the table otherwise, for as long as the process lives.
type Collector struct {
	reclaimer table.Reclaimer
	wake      chan struct{} // has room for one: a collection is due

	mu     sync.Mutex
	tables map[string]int64 // bytes by dataset; guarded by mu
}

// NewCollector returns a Collector. It collects nothing until Run.
func NewCollector() *Collector {
	return &Collector{wake: make(chan struct{}, 1), tables: make(map[string]int64)}
}

// swapped records that t is served now, and how many bytes can be freed with that. full says that it was loaded from a snapshot.
// A nil Collector does nothing.
func (c *Collector) swapped(name string, t *table.Table, replaced int64, full bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.tables[name] = t.Bytes()
	c.mu.Unlock()
	if full {
		replaced += t.Bytes() // what a load leaves behind is about as large as what it makes
	}
	if c.reclaimer.Replaced(replaced, c.bytes()) {
		select {
		case c.wake <- struct{}{}:
		default:
		}
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
	return c.run(ctx, c.collect)
}

// collect collects garbage, and gives back to the system what is free if that is much.
func (c *Collector) collect() {
	runtime.GC()
	free := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	if metrics.Read(free); int64(free[0].Value.Uint64()) > c.bytes()/freeShare {
		debug.FreeOSMemory() // with a second collection, which frees the buffers that pools hold for a while
	}
}

func (c *Collector) run(ctx context.Context, collect func()) error {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
		begun := time.Now()
		collect()
		select {
		case <-time.After(collectRest * time.Since(begun)):
		case <-ctx.Done():
			return nil
		}
	}
}
