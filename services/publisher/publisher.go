package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/web"
	"github.com/sourcegraph/conc/pool"
)

// Publisher is the service.
type Publisher struct {
	cfg       Config
	deps      Deps
	publisher *publish.Publisher
	compactor *publish.Compactor
	beacon    *publish.Beacon
	repairer  *publish.Repairer
	publishes turns
	patches   turns
	metrics   *metrics
	mux       *web.Mux
	server    *web.Server
}

// New returns a publisher. It starts nothing, but makes the folder for temporary files and clears it of what dead
// publishers left.
func New(cfg Config, deps Deps) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Log == nil || deps.Registry == nil {
		return nil, errors.New("publisher: Deps lacks the Store, the Log or the Registry")
	}
	lib, err := publish.New(publish.Config{
		TempDir: cfg.TempDir, MemoryBytes: int64(cfg.MemoryBytes), TextBytes: int64(cfg.TextBytes), Workers: cfg.Workers, Source: cfg.Source,
		MaxDeltas: cfg.MaxDeltas, MaxDeltaPercent: cfg.MaxDeltaPercent, Log: deps.Log,
	}, publish.Deps{Store: deps.Store, Events: deps.Events, Catalog: deps.Catalog})
	if err != nil {
		return nil, fmt.Errorf("FRESHET_TEMP_DIR, FRESHET_MEMORY_BYTES: %w", err)
	}
	metrics := newMetrics(deps.Registry)
	compactor, err := publish.NewCompactor(lib, publish.CompactorConfig{Every: cfg.CompactEvery, Done: compacted(metrics, deps.Log)})
	if err != nil {
		return nil, fmt.Errorf("FRESHET_COMPACT_EVERY: %w", err)
	}
	repairer := publish.NewRepairer(lib, metrics.repaired)
	beacon, err := newBeacon(cfg, deps, lib, repairer, metrics)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, deps: deps, publisher: lib, compactor: compactor, beacon: beacon, repairer: repairer, metrics: metrics,
		publishes: newTurns(cfg.Publishes, "publishes", "FRESHET_PUBLISHES"),
		patches:   newTurns(cfg.Patches, "patches", "FRESHET_PATCHES"),
	}
	p.mux = web.NewMux(deps.Log, deps.Registry, web.AlwaysReady)
	p.mux.Handle("POST /v1/datasets/{name}/versions", p.publish)
	p.mux.Handle("PATCH /v1/datasets/{name}", p.patch)
	p.mux.Handle("GET /v1/datasets/{name}/versions", p.versions)
	p.mux.Handle("GET /v1/datasets/{name}/versions/{version}", p.version)
	p.mux.Handle("GET /v1/datasets", p.datasets)
	p.server = web.NewServer(web.ServerConfig{Listen: cfg.Listen, Grace: cfg.StopGrace, Log: deps.Log}, p.mux)
	return p, nil
}

// Handler returns what the publisher serves.
func (p *Publisher) Handler() http.Handler { return p.mux }

// Ready is closed once the publisher listens; Addr then returns the address bound.
func (p *Publisher) Ready() <-chan struct{} { return p.server.Ready() }

// Addr returns the address bound, or "" before Ready.
func (p *Publisher) Addr() string { return p.server.Addr() }

// Run serves until ctx ends, then stops gracefully: a publish that does not finish in the grace time publishes nothing. A
// stop is no error. It is called once.
func (p *Publisher) Run(ctx context.Context) error {
	running := pool.New().WithContext(ctx).WithCancelOnError()
	running.Go(p.server.Run)
	running.Go(p.compactor.Run)
	running.Go(p.beacon.Run)
	running.Go(p.repairer.Run)
	running.Go(p.reconnected)
	return running.Wait()
}

// compacted returns what tells operators of compactions.
func compacted(m *metrics, log *slog.Logger) func(name string, c publish.Compaction, took time.Duration, err error) {
	return func(name string, c publish.Compaction, took time.Duration, err error) {
		m.compacted(name, err)
		if name == "" {
			log.Error("datasets were not looked at for snapshots that are due; it is tried again", "error", err.Error())
			return
		}
		if err != nil {
			log.Error("a snapshot that is due was not written; it is tried again", "dataset", name, "error", err.Error())
			return
		}
		log.Info("wrote a snapshot", "dataset", name, "version", c.Record.Object.Version, "bytes", c.Record.Object.Bytes,
			"deltas", c.Deltas, "delta_bytes", c.Bytes, "seconds", took.Seconds())
	}
}
