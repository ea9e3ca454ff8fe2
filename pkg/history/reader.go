package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/store"
)

// Config configures a Reader. The zero Config is usable.
type Config struct {
	// Workers is how many blocks are decoded at a time by one lookup; 0 means GOMAXPROCS, at most 4.
	Workers int
	// Log gets messages about objects that a reader does not need and that are damaged; nil means no logging.
	Log *slog.Logger
}

// Reader reads the versions of one store. It is safe for concurrent use.
type Reader struct {
	store    store.Store
	versions *versions.History
}

// New returns a Reader of the versions in st. It starts nothing, and does not close st.
func New(cfg Config, st store.Store) *Reader {
	if cfg.Workers <= 0 {
		cfg.Workers = min(runtime.GOMAXPROCS(0), 4)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Reader{store: st, versions: versions.New(st, cfg.Workers, cfg.Log)}
}

// Open returns a version of the dataset, the newest if version is 0. It reads the record of the version and no object. It returns a
// [*NotFoundError] if there is no such version, and a [*DeletedError] if the version deletes the dataset.
func (r *Reader) Open(ctx context.Context, name string, version uint64) (*Version, error) {
	v, err := r.openAny(ctx, name, version)
	if err == nil && v.record.Deleted {
		return nil, r.deleted(ctx, v.record)
	}
	return v, err
}

// openAny is Open, also for a version that deletes the dataset.
func (r *Reader) openAny(ctx context.Context, name string, version uint64) (*Version, error) {
	rec, err := r.record(ctx, name, version)
	if err != nil {
		return nil, err
	}
	if version > 0 { // the newest version is always kept
		removed, err := gone.Of(ctx, r.store, name)
		if err != nil {
			return nil, err
		}
		if removed.Contains(version) { // some of its blocks may be cached, and some shared with kept versions
			return nil, removed.Error(rec)
		}
	}
	return r.open(ctx, rec)
}

func (r *Reader) open(ctx context.Context, rec dataset.VersionRecord) (*Version, error) {
	chain, err := r.versions.Chains.Shortest(ctx, rec)
	if err != nil {
		return nil, r.failed(ctx, rec, err)
	}
	return &Version{reader: r, record: rec, chain: chain}, nil
}

// record returns the record of a version, of the newest if version is 0.
func (r *Reader) record(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, err
	}
	newest := func() (dataset.VersionRecord, error) {
		rec, err := r.store.Latest(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return rec, &NotFoundError{Dataset: name, Version: version}
		}
		if err != nil {
			return rec, fmt.Errorf("look up the newest version of dataset %s: %w", name, err)
		}
		return rec, nil
	}
	if version == 0 {
		return newest()
	}
	rec, err := r.store.Version(ctx, name, version)
	switch {
	case err == nil:
		return rec, nil
	case !errors.Is(err, store.ErrNotFound):
		return rec, fmt.Errorf("look up version %d of dataset %s: %w", version, name, err)
	}
	last, err := newest()
	if err != nil {
		return last, err
	}
	return dataset.VersionRecord{}, &NotFoundError{Dataset: name, Version: version, Newest: last.Version}
}
