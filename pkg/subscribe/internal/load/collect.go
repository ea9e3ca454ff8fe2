package load

import (
	"context"
	"runtime"
	"sync"
	"time"

	"freshet.dev/pkg/table"
)

// collectRest is how many times as long as a collection took no other one is asked for: a service with much else in its
// memory spends little of its processors on it, however often its datasets are refreshed.
const collectRest = 20

// Collector runs the garbage collector when refreshes have replaced enough, beside the lanes: it takes as long as all of
// the process's memory says, and no refresh may wait for that.
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

// swapped takes note that t is served now, and of how many bytes can be freed with that.
func (c *Collector) swapped(name string, t *table.Table, replaced int64) {
	c.mu.Lock()
	c.tables[name] = t.Bytes()
	sum := int64(0)
	for _, bytes := range c.tables {
		sum += bytes
	}
	c.mu.Unlock()
	if c.reclaimer.Replaced(replaced, sum) {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Run collects what is due until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	return c.run(ctx, runtime.GC)
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
