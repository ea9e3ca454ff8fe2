package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/store"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// DefaultSettle is the default of Config.Settle.
	DefaultSettle = 2 * time.Second
	// DefaultTimeout is the default of Config.Timeout.
	DefaultTimeout = 5 * time.Second

	// notes is how many objects a Verifier remembers as verified.
	notes = 1 << 16
)

// Config configures a Verifier. The zero Config is usable.
type Config struct {
	// TempDir is the folder for temporary files, if empty [os.TempDir]. It needs space for the deltas that follow a snapshot.
	TempDir string
	// Settle is how long the event log and the catalog may lack a version before that is a finding: its publisher may be about to
	// announce it. 0 means [DefaultSettle].
	Settle time.Duration
	// Timeout bounds each query of the event log and the catalog; 0 means [DefaultTimeout].
	Timeout time.Duration
}

// Deps is what a Verifier works with. The Verifier closes none of it.
type Deps struct {
	// Store is required.
	Store store.Store
	// Events is compared with the store; nil if there is no event log.
	Events EventLog
	// Catalog is compared with the store; nil if there is no catalog.
	Catalog Catalog
}

// EventLog is the event log. [*freshet.dev/pkg/events.Log] implements it.
type EventLog interface {
	// Latest returns the last announced version of each of the datasets that have one. It may return both a map and an error.
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
}

// Catalog is the catalog. [*freshet.dev/pkg/catalog.Catalog] implements it.
type Catalog interface {
	// Newest returns the newest version of each of the datasets that have one.
	Newest(ctx context.Context, names []string) (map[string]dataset.Ref, error)
}

// Verifier verifies the datasets of a store. It is for one goroutine.
type Verifier struct {
	cfg     Config
	deps    Deps
	store   store.Store
	history *versions.History
	whole   *simplelru.LRU[dataset.Digest, struct{}] // objects that are verified

	idReported bool // the store id is missing or damaged, and a finding says so
}

// New returns a Verifier. It starts nothing.
func New(cfg Config, deps Deps) (*Verifier, error) {
	if deps.Store == nil {
		return nil, errors.New("verify: Deps has no Store")
	}
	if cfg.TempDir == "" {
		cfg.TempDir = os.TempDir()
	}
	if cfg.Settle == 0 {
		cfg.Settle = DefaultSettle
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Settle < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("verify: Settle is %v and Timeout %v; neither can be negative", cfg.Settle, cfg.Timeout)
	}
	whole, err := simplelru.NewLRU[dataset.Digest, struct{}](notes, nil)
	if err != nil {
		return nil, err
	}
	return &Verifier{
		cfg: cfg, deps: deps, store: deps.Store, whole: whole,
		history: versions.New(deps.Store, 1, slog.New(slog.DiscardHandler)),
	}, nil
}

// Run verifies the named datasets, or all datasets and journals without names, and then compares the event log and the catalog with the store. It calls found
// for each finding; an error of found ends Run, which returns it. Run also returns an error if ctx ends, if the store does not answer, and
// one that wraps [store.ErrNotFound] if a named dataset has no version.
func (v *Verifier) Run(ctx context.Context, names []string, found func(Finding) error) (sum Totals, err error) {
	all := len(names) == 0
	if names, err = v.Names(ctx, names); err != nil {
		return sum, err
	}
	for _, name := range names {
		t, err := v.Dataset(ctx, name, found)
		sum.Add(t)
		if err != nil {
			return sum, err
		}
	}
	if all {
		t, err := v.Journals(ctx, names, found)
		sum.Add(t)
		if err != nil {
			return sum, err
		}
	}
	t, err := v.Followers(ctx, names, found)
	sum.Add(t)
	return sum, err
}

// Names returns names, or the names of all datasets if there are none. It returns an error that wraps [store.ErrNotFound] if a dataset has
// no version.
func (v *Verifier) Names(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		names, err := v.store.Datasets(ctx)
		if err != nil {
			return nil, fmt.Errorf("verify: list the datasets: %w", err)
		}
		return names, nil
	}
	for _, name := range names {
		if err := dataset.CheckName(name); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		if _, err := v.newest(ctx, name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// newest returns the number of the newest version of the dataset, whether its record is damaged or not.
func (v *Verifier) newest(ctx context.Context, name string) (uint64, error) {
	rec, err := v.store.Latest(ctx, name)
	if damaged, ok := errors.AsType[*store.RecordError](err); ok {
		return damaged.Version, nil
	}
	if err != nil {
		return 0, fmt.Errorf("verify dataset %q: %w", name, err)
	}
	return rec.Version, nil
}
