package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Deps is what a publisher works with. The publisher closes none of it.
type Deps struct {
	Store    store.Store      // required
	Events   publish.EventLog // nil: versions are not announced
	Catalog  publish.Catalog  // nil: versions are not indexed
	NATS     *nats.Conn       // nil: no beacon is sent
	Log      *slog.Logger
	Registry *prometheus.Registry

	closers []func() error
}

// Open acquires what cfg names. NATS and the catalog may be down, now and later; the store may not be missing now.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (d Deps, err error) {
	d = Deps{Log: log, Registry: web.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			d = Deps{}
		}
	}()
	s, err := storeurl.Open(ctx, cfg.StoreURL.Reveal())
	if errors.Is(err, store.ErrURL) {
		err = fmt.Errorf("%w: %w", settings.ErrSettings, err)
	}
	if err != nil {
		return d, fmt.Errorf("open the store that FRESHET_STORE_URL names: %w", err)
	}
	d.Store = s
	d.closers = append(d.closers, s.Close)
	if cfg.RedisURL != "" {
		rdb, err := catalog.Connect(cfg.RedisURL.Reveal())
		if err != nil {
			return d, fmt.Errorf("connect to the catalog that FRESHET_REDIS_URL names: %w", err)
		}
		d.Catalog = catalog.New(rdb, cfg.Namespace)
		d.closers = append(d.closers, rdb.Close)
	}
	nc, err := events.Connect(cfg.NatsURL.Reveal(), "freshet-publisher", log)
	if err != nil {
		return d, fmt.Errorf("connect to the event log that FRESHET_NATS_URL names: %w", err)
	}
	d.NATS = nc
	d.closers = append(d.closers, func() error { nc.Close(); return nil })
	eventLog, err := events.NewLog(nc, events.Config{Namespace: cfg.Namespace, Replicas: cfg.NatsReplicas, MaxBytes: int64(cfg.NatsMaxBytes), Log: log})
	if err != nil {
		return d, fmt.Errorf("open the event log: %w", err)
	}
	d.Events = eventLog
	return d, nil
}

// Close releases what Open acquired.
func (d Deps) Close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}
