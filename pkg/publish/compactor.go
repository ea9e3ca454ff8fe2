package publish

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sourcegraph/conc/panics"
)

// DefaultCompactEvery is how often a Compactor looks at all datasets by itself.
const DefaultCompactEvery = 5 * time.Minute

// CompactorConfig says how a Compactor works. The zero CompactorConfig is usable.
type CompactorConfig struct {
	// Every is how often all datasets are looked at, because other processes patch them too; 0 means
	// DefaultCompactEvery.
	Every time.Duration
	// Done, if not nil, is called after each compaction that wrote a snapshot or failed. It should return soon.
	Done func(name string, c Compaction, took time.Duration, err error)
}

// Compactor writes the snapshots that are due, in the background, one at a time.
type Compactor struct {
	cfg       CompactorConfig
	publisher *Publisher
	wake      chan struct{} // holds one: that there is something in asked

	mu    sync.Mutex
	asked map[string]bool // datasets to be looked at, guarded by mu
}

// NewCompactor returns a Compactor that works with what p works with. It does nothing until Run.
func NewCompactor(p *Publisher, cfg CompactorConfig) (*Compactor, error) {
	if cfg.Every == 0 {
		cfg.Every = DefaultCompactEvery
	}
	if cfg.Every < 0 {
		return nil, fmt.Errorf("publish: CompactorConfig.Every is %v; it cannot be negative", cfg.Every)
	}
	if cfg.Done == nil {
		cfg.Done = func(string, Compaction, time.Duration, error) {}
	}
	return &Compactor{cfg: cfg, publisher: p, wake: make(chan struct{}, 1), asked: map[string]bool{}}, nil
}

// Look has the dataset looked at soon. Call it after each patch. It never blocks.
func (c *Compactor) Look(name string) {
	c.mu.Lock()
	c.asked[name] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // it is to wake up already, and looks at all that was asked for
	}
}

// Run works until ctx ends, and then returns nil. What fails is told to Done, and tried again at the next look; a
// panic is such a failure too.
func (c *Compactor) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	c.all(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.all(ctx)
		case <-c.wake:
			c.drain(ctx)
		}
	}
}

// all looks at every dataset of the store.
func (c *Compactor) all(ctx context.Context) {
	names, err := c.publisher.deps.Store.Datasets(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.publisher.cfg.Log.WarnContext(ctx, "datasets were not looked at for compaction", "error", err.Error())
		}
		return
	}
	for _, name := range names {
		c.one(ctx, name)
	}
}

func (c *Compactor) drain(ctx context.Context) {
	c.mu.Lock()
	names := c.asked
	c.asked = map[string]bool{}
	c.mu.Unlock()
	for name := range names {
		c.one(ctx, name)
	}
}

func (c *Compactor) one(ctx context.Context, name string) {
	if ctx.Err() != nil {
		return
	}
	start := time.Now()
	var done Compaction
	var err error
	if panicked := panics.Try(func() { done, err = c.publisher.Compact(ctx, name) }).AsError(); panicked != nil {
		err = fmt.Errorf("compact dataset %q: %w", name, panicked)
	}
	if ctx.Err() != nil {
		return // the process stops
	}
	if err != nil || done.Record.Object.Version > 0 {
		c.cfg.Done(name, done, time.Since(start), err)
	}
}
