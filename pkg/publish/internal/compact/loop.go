package compact

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/wake"
)

// LoopConfig configures a Loop.
type LoopConfig struct {
	// Every is how often all datasets are checked, because other processes patch them too.
	Every time.Duration
	// Retry is the first pause for a dataset after a failure, however often it is patched; Every is the longest.
	Retry time.Duration
	// Done is called after each compaction that wrote a snapshot or failed, and with an empty name when the datasets could not be
	// listed. It should return soon.
	Done func(name string, c Compaction, took time.Duration, err error)
}

// Loop writes the snapshots that are due, in the background, one at a time.
type Loop struct {
	cfg       LoopConfig
	compactor *Compactor
	wake      wake.Signal // pending has a dataset

	mu      sync.Mutex
	pending map[string]bool // datasets to check; guarded by mu

	failing map[string]failure // by dataset; all is for listing them. Used by Run alone
}

// failure is how long a dataset that failed is left alone.
type failure struct {
	pauses *backoff.Backoff
	until  time.Time
}

// all stands for all datasets in the place of a name.
const all = ""

// NewLoop returns a Loop that compacts with c.
func NewLoop(c *Compactor, cfg LoopConfig) *Loop {
	return &Loop{cfg: cfg, compactor: c, wake: wake.New(), pending: map[string]bool{}, failing: map[string]failure{}}
}

// Wake makes Run check the dataset soon. It never blocks.
func (l *Loop) Wake(name string) {
	l.mu.Lock()
	l.pending[name] = true
	l.mu.Unlock()
	l.wake.Set()
}

// Run compacts until ctx ends, and then returns nil. It checks all datasets first. It reports a failure to Done and retries after a
// pause. A panic is such a failure too.
func (l *Loop) Run(ctx context.Context) error {
	due := time.Now() // when all datasets are checked next
	for {
		if now := time.Now(); !now.Before(due) {
			due = now.Add(l.cfg.Every)
			l.check(ctx, all)
		}
		for _, name := range l.drain() {
			l.check(ctx, name)
		}
		for name := range maps.Clone(l.failing) { // does nothing before the end of the pause
			l.check(ctx, name)
		}
		if !wake.Wait(ctx, time.Until(l.next(due)), l.wake) {
			return nil
		}
	}
}

// next returns the time of the first retry, or due if that is earlier.
func (l *Loop) next(due time.Time) time.Time {
	for _, f := range l.failing {
		if f.until.Before(due) {
			due = f.until
		}
	}
	return due
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
	panicked := guard.Try(func() error {
		if name == all {
			names, err = l.compactor.store.Datasets(ctx)
		} else {
			done, err = l.compactor.Compact(ctx, name)
		}
		return nil
	})
	if panicked != nil {
		err = fmt.Errorf("compact dataset %q: %w", name, panicked)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		f := l.failing[name]
		if f.pauses == nil {
			f.pauses = backoff.New(l.cfg.Retry, l.cfg.Every)
		}
		f.until = time.Now().Add(f.pauses.Next())
		l.failing[name] = f
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
