package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"freshet.dev/pkg/history"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/prom"
	"freshet.dev/pkg/replay"
	"freshet.dev/services/internal/web"
	"github.com/sourcegraph/conc/pool"
)

// maxHeaderBytes allows, in addition to other headers, a cursor of the events of some 40,000 datasets in the request line.
const maxHeaderBytes = 1<<20 + 64<<10

// Publisher is the service.
type Publisher struct {
	cfg       Config
	deps      Deps
	publisher *publish.Publisher
	journal   *journal.Journal
	history   *history.Reader
	collector *keep.Collector
	publishes slots
	patches   slots
	reads     slots
	replayer  *replay.Replayer                                    // nil without NATS
	replaying chan struct{}                                       // has an element for each replay in progress
	verifying chan struct{}                                       // has one element while a verification is in progress
	collected func(r *keep.Report, took time.Duration, err error) // counts and logs a run of the collector
	metrics   *prom.Metrics
	mux       *web.Mux
	server    *web.Server
}

// New returns a publisher. It starts nothing. It creates the folder for temporary files, and removes files of publishers that died
// from it.
func New(cfg Config, deps Deps) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Log == nil || deps.Registry == nil {
		return nil, errors.New("publisher: Deps lacks the Store, the Log or the Registry")
	}
	journals, err := newJournal(cfg, deps)
	if err != nil {
		return nil, err
	}
	metrics := prom.New(deps.Registry)
	lib, err := newLibrary(cfg, deps, metrics, journals)
	if err != nil {
		return nil, fmt.Errorf("FRESHET_TEMP_DIR, FRESHET_MEMORY_BYTES: %w", err)
	}
	p := &Publisher{
		cfg: cfg, deps: deps, publisher: lib, journal: journals, metrics: metrics,
		publishes: newSlots(cfg.Publishes, "publishes", "FRESHET_PUBLISHES"),
		patches:   newSlots(cfg.Patches, "patches", "FRESHET_PATCHES"),
		history:   history.New(history.Config{Workers: readWorkers, Log: deps.Log}, deps.Store),
		reads:     newSlots(cfg.Reads, "reads of versions or events", "FRESHET_READS"),
		verifying: make(chan struct{}, 1),
		replaying: make(chan struct{}, maxReplays),
	}
	if deps.NATS != nil {
		p.replayer, err = replay.New(replay.Config{Namespace: cfg.Namespace, Log: deps.Log}, replay.Deps{Store: deps.Store, Journal: journals, NATS: deps.NATS})
		if err != nil {
			return nil, err
		}
	}
	if p.collector, err = newCollector(cfg, deps, journals); err != nil {
		return nil, fmt.Errorf("FRESHET_GC_GRACE: %w", err)
	}
	p.collected = metrics.Collected(logCollection(deps.Log))
	p.mux = web.NewMux(deps.Log, deps.Registry, web.AlwaysReady)
	p.handle()
	p.server = web.NewServer(web.ServerConfig{
		Listen: cfg.Listen, Grace: cfg.StopGrace, ConnContext: withConn, MaxHeaderBytes: maxHeaderBytes, Log: deps.Log,
	}, p.Handler())
	return p, nil
}

// handle registers all routes.
func (p *Publisher) handle() {
	p.mux.Handle("POST /v1/datasets/{name}/versions", p.publish)
	p.mux.Handle("PATCH /v1/datasets/{name}", p.patch)
	p.mux.Handle("POST /v1/datasets/{name}/rollback", p.rollback)
	p.mux.Handle("POST /v1/datasets/{name}/delete", p.delete)
	p.mux.Handle("POST /v1/datasets/{name}/replay", p.replay)
	p.mux.Handle("GET /v1/datasets/{name}/versions", p.versions)
	p.mux.Handle("GET /v1/datasets/{name}/versions/{version}", p.version)
	p.mux.Handle("GET /v1/datasets", p.datasets)
	p.mux.Handle("GET /v1/datasets/{name}/settings", p.settings)
	p.mux.Handle("PATCH /v1/datasets/{name}/settings", p.changeSettings)
	p.mux.Handle("GET /v1/datasets/{name}/pins", p.pins)
	p.mux.Handle("POST /v1/datasets/{name}/pins", p.setPin)
	p.mux.Handle("DELETE /v1/datasets/{name}/pins", p.removePins)
	p.mux.Handle("GET /v1/datasets/{name}/events", p.datasetEvents)
	p.mux.Handle("GET /v1/events", p.allEvents)
	p.mux.Handle("POST /v1/verify", p.verifyAll)
	p.mux.Handle("POST /v1/datasets/{name}/verify", p.verifyDataset)
	p.mux.Handle("POST /v1/gc", p.gcAll)
	p.mux.Handle("POST /v1/datasets/{name}/gc", p.gcDataset)
	p.handleReads()
}

// Handler returns the HTTP handler of all routes.
func (p *Publisher) Handler() http.Handler { return web.KeepKeys(p.mux) }

// Ready returns a channel that is closed once the publisher listens; Addr then returns the address.
func (p *Publisher) Ready() <-chan struct{} { return p.server.Ready() }

// Addr returns the address that the publisher listens on, or "" before Ready.
func (p *Publisher) Addr() string { return p.server.Addr() }

// Run serves until ctx ends, then stops gracefully and returns nil: a publish that does not finish in the grace time publishes
// nothing. Call it once.
func (p *Publisher) Run(ctx context.Context) error {
	running := pool.New().WithContext(ctx).WithCancelOnError()
	running.Go(p.server.Run)
	running.Go(p.publisher.Run)
	running.Go(p.wakeOnConnect)
	if p.cfg.GcEvery > 0 {
		running.Go(func(ctx context.Context) error {
			return keep.Loop{Every: p.cfg.GcEvery, By: publisherName, Done: p.collected}.Run(ctx, p.collector)
		})
	}
	return running.Wait()
}

// logCompaction returns a function that logs compactions.
func logCompaction(log *slog.Logger) func(name string, c publish.Compaction, took time.Duration, err error) {
	return func(name string, c publish.Compaction, took time.Duration, err error) {
		if name == "" {
			log.Error("the datasets could not be listed to find snapshots that are due; retrying", "error", err.Error())
			return
		}
		if err != nil {
			log.Error("a snapshot that is due was not written; retrying", "dataset", name, "error", err.Error())
			return
		}
		log.Info("wrote a snapshot", "dataset", name, "version", c.Record.Object.Version, "bytes", c.Record.Object.Bytes,
			"deltas", c.Deltas, "delta_bytes", c.Bytes, "seconds", took.Seconds())
	}
}
