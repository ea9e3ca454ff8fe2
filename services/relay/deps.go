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

// Store is what a relay reads from: a store, see [FromStore], or other relays.
type Store interface {
	segments.Origin
	// Newest returns the record of the dataset's newest version, or store.ErrNotFound, and in both cases the id of the store
	// that it read. The id is zero if the store has none, or if the answer does not prove what the store has.
	Newest(ctx context.Context, name string) (dataset.VersionRecord, dataset.StoreID, error)
	// Recheck removes the object from the caches of relays, so that the next read is of the store. It returns an error that wraps
	// store.ErrDamaged if the store holds wrong bytes; after any other error it is unknown whether they are right.
	Recheck(ctx context.Context, digest dataset.Digest) error
	// Pins returns the pins of the dataset with the records of the pinned versions, or store.ErrNotFound if the origin is relays of
	// releases before pins.
	Pins(ctx context.Context, name string) (dataset.Pins, error)
	// Record returns the record of one version, or store.ErrNotFound, also if the origin is relays of releases up to v0.4.
	Record(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error)
	// ID returns the id of the store, or store.ErrNotFound if it has none.
	ID(ctx context.Context) (dataset.StoreID, error)
}

// Catalog answers faster than the store which version is the newest. A [catalog.Catalog] is one.
type Catalog interface {
	// Latest returns an error if the catalog does not have the answer.
	Latest(ctx context.Context, name string) (dataset.VersionRecord, error)
}

// Deps are the dependencies of a relay, which does not close them.
type Deps struct {
	Store    Store   // required
	Catalog  Catalog // nil: the relay reads the store
	Log      *slog.Logger
	Registry *prometheus.Registry

	closers []func() error
}

// Open opens the store and the catalog that cfg names. The catalog and relays upstream may be down; a store must exist.
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
		// Reads of sizes and of newest versions have additional connections.
		return upstream.New(upstream.Config{Relays: relays, Connections: cfg.RelayOriginReads + lookups, Timeout: cfg.RelayOriginTimeout, Log: log})
	}
	st, err := storeurl.OpenExisting(ctx, cfg.StoreURL.Reveal())
	if err != nil {
		return nil, err
	}
	return FromStore(st), nil
}

// lookups is how many connections to each relay upstream there may be in addition to those that read objects.
const lookups = 4

// Close closes what Open opened.
func (d Deps) Close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}
