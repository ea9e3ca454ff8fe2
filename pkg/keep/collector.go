package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/nearest"
	"freshet.dev/pkg/store"
)

const (
	// DefaultGrace is the default of Config.Grace.
	DefaultGrace = 24 * time.Hour
	// MinGrace is the shortest grace: a bucket tells times in whole seconds. It is for tests. An hour is longer than a commit takes.
	MinGrace = 2 * time.Second
)

var (
	// ErrUnknownDataset is returned when the store has no version of the dataset.
	ErrUnknownDataset = errors.New("the store has no version of the dataset")
	// ErrRequest is returned for a request that is refused.
	ErrRequest = errors.New("the request is refused")
)

// Config configures a Collector. The zero Config is usable.
type Config struct {
	// Grace is how long an object that no version needs stays: at first until it is marked, and then until it is removed. 0 means DefaultGrace.
	// It must be longer than a publisher takes from its first object to its commit.
	Grace time.Duration
	// Log gets what Loop does; nil means no logging.
	Log *slog.Logger
}

// Deps is what a Collector works with. The Collector closes none of it.
type Deps struct {
	// Store is required.
	Store store.Store
	// Settings returns the settings of a dataset. It is required.
	Settings func(ctx context.Context, name string) (dataset.Settings, error)
	// Journal gets an entry before versions lose their objects. It is required.
	Journal *journal.Journal
	// Pinned returns the versions of a dataset that instances are pinned to; nil if there are no pins.
	Pinned func(ctx context.Context, name string) ([]dataset.Ref, error)
	// Served returns the versions that instances serve, by dataset; nil if there are no instances. If it fails, nothing is removed.
	Served func(ctx context.Context) (map[string][]dataset.Ref, error)
}

// Collector removes the objects that no kept version needs. It is safe for concurrent use, and several processes may each have one.
type Collector struct {
	cfg     Config
	deps    Deps
	now     func() time.Time
	running *semaphore.Weighted // one run at a time

	last reading // of the last run
}

// New returns a Collector. It starts nothing.
func New(cfg Config, deps Deps) (*Collector, error) {
	if deps.Store == nil || deps.Settings == nil || deps.Journal == nil {
		return nil, errors.New("keep: Deps lacks the Store, the Settings or the Journal")
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Grace < MinGrace {
		return nil, fmt.Errorf("keep: Grace is %v; the least is %v", cfg.Grace, MinGrace)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{cfg: cfg, deps: deps, now: time.Now, running: semaphore.NewWeighted(1)}, nil
}

// Request says what a run does.
type Request struct {
	// Dataset restricts what is removed to objects that versions of this dataset name; empty means all, with left-overs.
	Dataset string
	// DryRun says to remove nothing, and to report what the retention frees.
	DryRun bool
	// Grace replaces Config.Grace; 0 means that.
	Grace time.Duration
	// By is who asks for the run, such as "user@host". Reason is why; if it is empty, the journal names the retention.
	By, Reason string
}

// Run removes what was marked long enough ago and is still not needed, and marks what is not needed now. It returns ErrUnknownDataset,
// ErrRequest, or an error of the store or of Deps; then it may have removed a part. It may be stopped or killed at any point.
func (c *Collector) Run(ctx context.Context, r Request) (*Report, error) {
	if r.Grace == 0 {
		r.Grace = c.cfg.Grace
	}
	if r.Grace < MinGrace {
		return nil, fmt.Errorf("%w: the grace is %v, the least is %v", ErrRequest, r.Grace, MinGrace)
	}
	if err := dataset.CheckAudit(r.By, r.Reason); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if c.running.Acquire(ctx, 1) != nil {
		return nil, context.Cause(ctx)
	}
	defer c.running.Release(1)
	report, err := c.run(ctx, r)
	if err != nil {
		return report, fmt.Errorf("gc: %w", err)
	}
	return report, nil
}

func (c *Collector) run(ctx context.Context, r Request) (*Report, error) {
	now, since, problem, err := c.clock(ctx, r.DryRun)
	if err != nil {
		return nil, err
	}
	report := &Report{Time: now, Grace: r.Grace, DryRun: r.DryRun}
	report.wait(problem)
	var served map[string][]dataset.Ref
	if c.deps.Served != nil {
		if served, err = c.deps.Served(ctx); err != nil {
			report.wait(fmt.Sprintf("it is not known which versions instances serve: %v", err))
		}
	}
	p, err := c.plan(ctx, now, since, served)
	if err != nil {
		return nil, err
	}
	if r.Dataset != "" && !slices.ContainsFunc(p.datasets, func(d *datasetPlan) bool { return d.name == r.Dataset }) {
		return nil, unknownDataset(r.Dataset, p)
	}
	run := &run{Collector: c, request: r, plan: p, report: report, owner: p.owners(r.Dataset)}
	if !r.DryRun && len(report.Waiting) == 0 {
		err := run.sweep(ctx)
		if errors.Is(err, hold.ErrSweeping) {
			report.wait(err.Error() + "; the next run goes on")
		} else if errors.Is(err, errChanged) {
			report.wait(err.Error())
		} else if err != nil {
			return report, err
		}
	}
	if err := run.mark(ctx); err != nil {
		return report, err
	}
	run.describe()
	return report, nil
}

func unknownDataset(name string, p *plan) error {
	names := make([]string, len(p.datasets))
	for i, d := range p.datasets {
		names[i] = d.name
	}
	return fmt.Errorf("%w %q%s", ErrUnknownDataset, name, nearest.Hint(name, names))
}
