package relay

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/relay/internal/flight"
	"freshet.dev/services/relay/internal/segments"
	"freshet.dev/services/relay/internal/wire"
	"github.com/sourcegraph/conc/pool"
)

// maxHeaderBytes bounds the header of a request, which holds a digest or a name, and what proxies add.
const maxHeaderBytes = 8 << 10

// Relay is the service.
type Relay struct {
	cfg    Config
	deps   Deps
	cache  *segments.Cache
	latest *latest
	pins   *flight.Group[string, dataset.Pins]
	// versions reads version records.
	versions *flight.Group[oneVersion, dataset.VersionRecord]

	storeID *storeID
	slots   chan struct{} // a semaphore: one for each response in progress
	count   counters

	rechecks *rechecks
	mux      *web.Mux
	server   *web.Server
	close    sync.Once
}

// New returns a relay. It starts nothing; the address space of its cache is reserved and released by Run or Close.
func New(cfg Config, deps Deps) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Log == nil || deps.Registry == nil {
		return nil, errors.New("relay: Deps lacks the Store, the Log or the Registry")
	}
	cache, err := segments.New(segments.Config{
		Bytes: int64(cfg.RelayCacheBytes), TTL: cfg.RelayCacheTTL,
		OriginReads: cfg.RelayOriginReads, OriginTimeout: cfg.RelayOriginTimeout, ReadAhead: int64(min(cfg.RelayReadAhead, cfg.RelayCacheBytes/8)),
		Streamed: func(digest dataset.Digest, bytes, most int64) {
			deps.Log.Warn("an object does not fit into the cache and is streamed: clients that request it at different times have it read from the store again; raise FRESHET_RELAY_CACHE_BYTES",
				"object", digest, "bytes", bytes, "cache_bytes", int64(cfg.RelayCacheBytes), "largest_bytes", most)
		},
	}, deps.Store)
	if err != nil {
		return nil, err
	}
	id := newStoreID(deps.Store)
	r := &Relay{
		cfg: cfg, deps: deps, cache: cache, storeID: id, latest: newLatest(deps), pins: newPins(deps.Store), versions: newVersions(deps.Store), rechecks: newRechecks(), slots: make(chan struct{}, cfg.RelayResponses),
	}
	r.mux = web.NewMux(deps.Log, deps.Registry, web.AlwaysReady)
	r.mux.Handle("GET /v1/objects/{digest}", r.object)
	r.mux.Handle("GET /v1/datasets/{name}/latest", r.newest)
	r.mux.Handle("GET /v1/datasets/{name}/pins", r.pinsOf)
	r.mux.Handle("GET /v1/datasets/{name}/versions/{version}", r.versionOf)
	r.mux.Handle("GET /v1/store", r.store)
	sockets := wire.New(wire.Config{Stall: cfg.RelayWriteStall, SendBytes: int(cfg.RelaySendBytes), Congestion: cfg.RelayCongestion})
	r.server = web.NewServer(web.ServerConfig{
		Listen: cfg.Listen, Grace: cfg.StopGrace, Log: deps.Log,
		WriteTimeout: cfg.RelayOriginTimeout + time.Minute, // a response may have to wait for the store first
		Control:      sockets.Control, Wrap: sockets.Wrap,
		Connections: cfg.connections(), MaxHeaderBytes: maxHeaderBytes,
	}, r.mux)
	deps.Registry.MustRegister(collector{r})
	return r, nil
}

// Handler returns the HTTP handler.
func (r *Relay) Handler() http.Handler { return r.mux }

// Ready is closed once the relay listens; Addr then returns the address bound.
func (r *Relay) Ready() <-chan struct{} { return r.server.Ready() }

// Addr returns the address bound, or "" before Ready.
func (r *Relay) Addr() string { return r.server.Addr() }

// Run serves until ctx ends, then stops gracefully and closes the relay. A stop is no error. It is called once.
func (r *Relay) Run(ctx context.Context) error {
	defer r.Close()
	p := pool.New().WithContext(ctx).WithCancelOnError()
	p.Go(r.server.Run)
	p.Go(func(ctx context.Context) error {
		r.cache.Run(ctx)
		return nil
	})
	return p.Wait()
}

// Close releases the cache; requests fail from then on. A relay that runs closes itself.
func (r *Relay) Close() {
	r.close.Do(func() {
		r.cache.Close()
		r.latest.close()
		r.pins.Close()
		r.versions.Close()
		r.storeID.close()
	})
}
