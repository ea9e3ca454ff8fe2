package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/segments"
	"freshet.dev/services/relay/internal/upstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Store is what a relay reads: a store, see [FromStore], or other relays.
type Store interface {
	segments.Origin
	// Newest returns the record of the dataset's newest version, or store.ErrNotFound, and in both cases the id of the store
	// that says so. The id is zero if the store has none, or if the answer is no proof of what the store has.
	Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error)
	// Recheck makes what is read next come from the store itself, and not from what relays keep. It returns an error that wraps
	// store.ErrDamaged if the store holds other bytes than those of the object; any other error says nothing about them.
	Recheck(ctx context.Context, digest dataset.Digest) error
	// ID returns the id of the store, or store.ErrNotFound if it has none.
	ID(ctx context.Context) (dataset.StoreID, error)
}

// Catalog is the faster place to ask for the newest version: a [catalog.Catalog] is one.
type Catalog interface {
	// Latest fails with any error when it cannot tell.
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
}

// Deps is what a relay works with. It closes none of it.
type Deps struct {
	Store    Store   // required
	Catalog  Catalog // nil: the store alone is asked
	Log      *slog.Logger
	Registry *prometheus.Registry

	closers []func() error
}

// Open acquires what cfg names. The catalog may be down, now and later, and so may relays upstream; a store may
// not be missing now.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (Deps, error) {
	d := Deps{Log: log, Registry: web.NewRegistry()}
	origin, err := open(ctx, cfg, log)
	if errors.Is(err, store.ErrURL) || errors.Is(err, upstream.ErrURL) {
		err = fmt.Errorf("%w: %w", settings.ErrSettings, err)
	}
	if err != nil {
		return Deps{}, fmt.Errorf("open the store that FRESHET_STORE_URL names: %w", err)
	}
	d.Store = origin
	d.closers = append(d.closers, origin.Close)
	if cfg.RedisURL != "" {
		rdb, err := catalog.Connect(cfg.RedisURL.Reveal())
		if err != nil {
			return Deps{}, errors.Join(fmt.Errorf("connect to the catalog that FRESHET_REDIS_URL names: %w", err), d.Close())
		}
		d.Catalog = catalog.New(rdb, cfg.Namespace)
		d.closers = append(d.closers, rdb.Close)
	}
	return d, nil
}

// origin is a store, or other relays.
type origin interface {
	Store
	Close() error
}

func open(ctx context.Context, cfg Config, log *slog.Logger) (origin, error) {
	if relays := cfg.upstreams(); len(relays) > 0 {
		// Sizes are asked for and newest versions looked up beside the reads.
		return upstream.New(upstream.Config{Relays: relays, Connections: cfg.RelayOriginReads + lookups, Timeout: cfg.RelayOriginTimeout, Log: log})
	}
	st, err := storeurl.OpenExisting(ctx, cfg.StoreURL.Reveal())
	if err != nil {
		return nil, err
	}
	return FromStore(st), nil
}

// lookups is how many connections to each relay upstream there may be beside those that read objects.
const lookups = 4

// Close releases what Open acquired.
func (d Deps) Close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}
