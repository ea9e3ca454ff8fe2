package publish

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc/panics"
)

const (
	// DefaultCompactEvery is how often a Compactor looks at all datasets by itself.
	DefaultCompactEvery = 5 * time.Minute
	// DefaultCompactRetry is how long a Compactor leaves a dataset alone after a first failure.
	DefaultCompactRetry = time.Second
)

// CompactorConfig says how a Compactor works. The zero CompactorConfig is usable.
type CompactorConfig struct {
	// Every is how often all datasets are looked at, because other processes patch them too; 0 means
	// DefaultCompactEvery.
	Every time.Duration
	// Retry is how long a dataset is left alone after a failure, however often it is patched; 0 means
	// DefaultCompactRetry. It is doubled with each failure that follows, up to Every.
	Retry time.Duration
	// Done, if not nil, is called after each compaction that wrote a snapshot or failed, and with an empty name when the
	// datasets could not be listed. It should return soon.
	Done func(name string, c Compaction, took time.Duration, err error)
}

// Compactor writes the snapshots that are due, in the background, one at a time.
type Compactor struct {
	cfg       CompactorConfig
	publisher *Publisher
	wake      chan struct{} // holds one: that there is something in asked

	mu    sync.Mutex
	asked map[string]bool // datasets to be looked at, guarded by mu

	failing map[string]failing // by dataset; all is what lists them. Used by Run alone
}

// failing says how long something that failed is left alone.
type failing struct {
	wait  time.Duration
	until time.Time
}

// all stands for all datasets where one is named.
const all = ""

// NewCompactor returns a Compactor that works with what p works with. It does nothing until Run.
func NewCompactor(p *Publisher, cfg CompactorConfig) (*Compactor, error) {
	if cfg.Every == 0 {
		cfg.Every = DefaultCompactEvery
	}
	if cfg.Retry == 0 {
		cfg.Retry = DefaultCompactRetry
	}
	if cfg.Every < 0 || cfg.Retry < 0 {
		return nil, fmt.Errorf("publish: CompactorConfig.Every is %v, Retry is %v; they cannot be negative", cfg.Every, cfg.Retry)
	}
	if cfg.Done == nil {
		cfg.Done = func(string, Compaction, time.Duration, error) {}
	}
	return &Compactor{cfg: cfg, publisher: p, wake: make(chan struct{}, 1), asked: map[string]bool{}, failing: map[string]failing{}}, nil
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

// Run works until ctx ends, and then returns nil. It begins with a look at all datasets. What fails is told to Done and
// tried again after a while; a panic is such a failure too.
func (c *Compactor) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	retry := time.NewTimer(c.cfg.Every)
	defer retry.Stop()
	c.look(ctx, all)
	for {
		if next, ok := c.nextRetry(); ok {
			retry.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.look(ctx, all)
		case <-c.wake:
			for _, name := range c.drain() {
				c.look(ctx, name)
			}
		case <-retry.C:
			for name := range maps.Clone(c.failing) {
				c.look(ctx, name)
			}
		}
	}
}

// nextRetry returns when the first of what failed is to be tried again.
func (c *Compactor) nextRetry() (next time.Time, ok bool) {
	for _, f := range c.failing {
		if !ok || f.until.Before(next) {
			next, ok = f.until, true
		}
	}
	return next, ok
}

// drain returns what was asked for.
func (c *Compactor) drain() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.Collect(maps.Keys(c.asked))
	clear(c.asked)
	return names
}

// look looks at a dataset, or at all, unless that has failed a short while ago.
func (c *Compactor) look(ctx context.Context, name string) {
	if ctx.Err() != nil || time.Now().Before(c.failing[name].until) {
		return
	}
	var done Compaction
	var names []string
	var err error
	start := time.Now()
	panicked := panics.Try(func() {
		if name == all {
			names, err = c.publisher.deps.Store.Datasets(ctx)
		} else {
			done, err = c.publisher.Compact(ctx, name)
		}
	}).AsError()
	if panicked != nil {
		err = fmt.Errorf("compact dataset %q: %w", name, panicked)
	}
	if ctx.Err() != nil {
		return // the process stops
	}
	if err != nil {
		wait := min(max(2*c.failing[name].wait, c.cfg.Retry), c.cfg.Every)
		c.failing[name] = failing{wait: wait, until: time.Now().Add(wait)}
	} else {
		delete(c.failing, name)
	}
	if err != nil || done.Record.Object.Version > 0 {
		c.cfg.Done(name, done, time.Since(start), err)
	}
	for _, name := range names {
		c.look(ctx, name)
	}
}
