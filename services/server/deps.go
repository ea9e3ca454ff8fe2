package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/prom"
	"freshet.dev/pkg/table"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/feed"
	"github.com/prometheus/client_golang/prometheus"
)

// Source keeps datasets in memory. Its methods, and those of its datasets but AtLeast and IndexesAtLeast, return at once. [FromSubscriber] returns the usual one.
type Source interface {
	// Datasets returns the names of the datasets, which never change.
	Datasets() []string
	// Dataset returns one of these datasets.
	Dataset(name string) (Dataset, error)
	// Status returns what is served and how refreshing goes.
	Status() fleet.Status
}

// Dataset is a dataset of a [Source], such as a [subscribe.Dataset].
type Dataset interface {
	// Table returns the version that is served now, nil before the first.
	Table() *table.Table
	// VersionID returns the id of the version that is served now, zero before the first.
	VersionID() dataset.VersionID
	// Indexes returns the newest version with its secondary indexes, nil before the first and without indexes.
	Indexes() *index.Set
	// AtLeast returns the table of a version that is want or has it in its history, as [subscribe.Dataset.AtLeast] does. It waits until ctx ends.
	AtLeast(ctx context.Context, want dataset.Ref) (t *table.Table, id dataset.VersionID, err error)
	// IndexesAtLeast waits for the indexes as AtLeast does for the table.
	IndexesAtLeast(ctx context.Context, want dataset.Ref) (*index.Set, error)
	// State returns the state of the dataset now, at the cost of a lookup or less.
	State() fleet.State
	// Deleted returns the record of the version that deletes the dataset; ok is false if it is not deleted.
	Deleted() (rec dataset.VersionRecord, ok bool)
	// Follow returns a follower of the dataset. Since returns the swap from an earlier version to that of the swap to, as
	// [subscribe.Dataset.Since] does.
	Follow() feed.Follower
	Since(from dataset.Ref, to subscribe.Swap) (swap subscribe.Swap, ok bool)
}

// FromSubscriber returns the source that reads the datasets of s.
func FromSubscriber(s *subscribe.Subscriber) Source { return subscriber{s} }

type subscriber struct{ *subscribe.Subscriber }

func (s subscriber) Dataset(name string) (Dataset, error) {
	d, err := s.Subscriber.Dataset(name)
	return subscribed{d}, err
}

type subscribed struct{ *subscribe.Dataset }

func (d subscribed) Follow() feed.Follower { return d.Dataset.Follow() }

// Deps are what a server uses. The server closes none of them.
type Deps struct {
	Source   Source
	Log      *slog.Logger
	Registry *prometheus.Registry
	// Lanes run the heavy work of requests. Zero means [lane.Defaults].
	Lanes lane.Lanes

	closers []func() error
}

// Open starts a subscriber as cfg says. Open waits for no server: NATS, Redis and the relays may be down, now and later.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (Deps, error) {
	d := Deps{Log: log, Registry: web.NewRegistry()}
	if cfg.CacheDir == "" {
		log.WarnContext(ctx, "FRESHET_CACHE_DIR is not set: after a restart nothing is served until a relay answers, and a version that kills the process kills it at every restart")
	}
	labels, err := fleet.ParseLabels(cfg.Labels)
	if err != nil {
		return Deps{}, fmt.Errorf("%w: FRESHET_LABELS: %w", settings.ErrSettings, err)
	}
	indexes, err := index.Parse(cfg.Indexes)
	if err != nil {
		return Deps{}, fmt.Errorf("%w: FRESHET_INDEXES: %w", settings.ErrSettings, err)
	}
	roots := cfg.KeepRoots
	if roots == 0 {
		roots = -1 // zero is the default of a subscribe.Config
	}
	s, err := subscribe.Open(ctx, subscribe.Config{
		Namespace: cfg.Namespace, NATS: cfg.NatsURL.Reveal(), Redis: cfg.RedisURL.Reveal(), Relays: cfg.Relays, Datasets: cfg.Datasets,
		CacheDir: cfg.CacheDir, Instance: cfg.Instance, Workers: cfg.Workers, LaneQueue: cfg.LaneQueue, LaneWait: cfg.LaneWait, StallTimeout: cfg.StallTimeout, BeaconWithin: cfg.BeaconWithin, Log: log,
		ConfirmAfter: cfg.ConfirmAfter, PinFor: cfg.PinFor, Labels: labels, RemoteGet: cfg.RemoteGet, KeepRoots: roots, Indexes: indexes,
		Bounds: subscribe.Bounds{
			MaxRecords: uint64(cfg.MaxRecords), MaxBytes: int64(cfg.MaxBytes), MaxTotalBytes: int64(cfg.MaxTotalBytes), MinMemoryLeft: int64(cfg.MinMemoryLeft),
		},
		Observer: prom.Observer(d.Registry, cfg.Datasets...),
	})
	if errors.Is(err, subscribe.ErrConfig) {
		err = fmt.Errorf("%w: %w", settings.ErrSettings, err)
	}
	if err != nil {
		return Deps{}, fmt.Errorf("subscribe to the datasets: %w", err)
	}
	d.Source, d.Lanes = FromSubscriber(s), s.Lanes()
	// The process may be killed while it drains requests. After the signal to stop, its end counts for no version.
	unhook := context.AfterFunc(ctx, s.Stopping)
	d.closers = append(d.closers, func() error { unhook(); return s.Close() })
	return d, nil
}

// Close closes the subscriber that Open started.
func (d Deps) Close() error {
	var errs []error
	for _, closer := range d.closers {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}
