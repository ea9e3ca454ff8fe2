package compact

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc/panics"
)

// LoopConfig configures a Loop.
type LoopConfig struct {
	// Every is how often all datasets are checked, because other processes patch them too.
	Every time.Duration
	// Retry is the pause for a dataset after a failure, however often it is patched. It doubles with each failure, up to Every.
	Retry time.Duration
	// Done is called after each compaction that wrote a snapshot or failed, and with an empty name when the datasets could not be
	// listed. It should return soon.
	Done func(name string, c Compaction, took time.Duration, err error)
}

// Loop writes the snapshots that are due, in the background, one at a time.
type Loop struct {
	cfg       LoopConfig
	compactor *Compactor
	wake      chan struct{} // holds one: pending has a dataset

	mu      sync.Mutex
	pending map[string]bool // datasets to check; guarded by mu

	failing map[string]failure // by dataset; all is for listing them. Used by Run alone
}

// failure is how long a dataset that failed is left alone.
type failure struct {
	wait  time.Duration
	until time.Time
}

// all stands for all datasets in the place of a name.
const all = ""

// NewLoop returns a Loop that compacts with c.
func NewLoop(c *Compactor, cfg LoopConfig) *Loop {
	return &Loop{cfg: cfg, compactor: c, wake: make(chan struct{}, 1), pending: map[string]bool{}, failing: map[string]failure{}}
}

// Wake makes Run check the dataset soon. It never blocks.
func (l *Loop) Wake(name string) {
	l.mu.Lock()
	l.pending[name] = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // Run will wake up, and checks all pending datasets
	}
}

// Run compacts until ctx ends, and then returns nil. It checks all datasets first. It reports a failure to Done and retries after a
// pause. A panic is such a failure too.
func (l *Loop) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Every)
	defer tick.Stop()
	retry := time.NewTimer(l.cfg.Every)
	defer retry.Stop()
	l.check(ctx, all)
	for {
		if next, ok := l.nextRetry(); ok {
			retry.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.check(ctx, all)
		case <-l.wake:
			for _, name := range l.drain() {
				l.check(ctx, name)
			}
		case <-retry.C:
			for name := range maps.Clone(l.failing) {
				l.check(ctx, name)
			}
		}
	}
}

// nextRetry returns the time of the first retry.
func (l *Loop) nextRetry() (next time.Time, ok bool) {
	for _, f := range l.failing {
		if !ok || f.until.Before(next) {
			next, ok = f.until, true
		}
	}
	return next, ok
}

// drain returns the pending datasets, and clears them.
func (l *Loop) drain() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := slices.Collect(maps.Keys(l.pending))
	clear(l.pending)
	return names
}

// check compacts a dataset, or all, if a snapshot is due. It does nothing during the pause after a failure.
func (l *Loop) check(ctx context.Context, name string) {
	if ctx.Err() != nil || time.Now().Before(l.failing[name].until) {
		return
	}
	var done Compaction
	var names []string
	var err error
	start := time.Now()
	panicked := panics.Try(func() {
		if name == all {
			names, err = l.compactor.store.Datasets(ctx)
		} else {
			done, err = l.compactor.Compact(ctx, name)
		}
	}).AsError()
	if panicked != nil {
		err = fmt.Errorf("compact dataset %q: %w", name, panicked)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		wait := min(max(2*l.failing[name].wait, l.cfg.Retry), l.cfg.Every)
		l.failing[name] = failure{wait: wait, until: time.Now().Add(wait)}
	} else {
		delete(l.failing, name)
	}
	if err != nil || done.Record.Object.Version > 0 {
		l.cfg.Done(name, done, time.Since(start), err)
	}
	for _, name := range names {
		l.check(ctx, name)
	}
}
