package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"freshet.dev/pkg/index"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe/prom"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server/internal/feed"
	"freshet.dev/services/server/internal/resp"
	"freshet.dev/services/server/internal/tracking"
)

// Server is the service.
type Server struct {
	cfg      Config
	deps     Deps
	lanes    lane.Lanes
	datasets map[string]*lookups // by name; never changes
	scans    chan struct{}       // one for each scan that runs
	indexes  map[string][]index.Spec
	waits    chan struct{} // a semaphore: one for each lookup that waits for a version
	mux      *web.Mux
	server   *web.Server
	port     *resp.Port        // nil without Redis' protocol
	respAddr atomic.Value      // of port
	tracker  *tracking.Tracker // of port; nil without FRESHET_RESP_TRACKED_KEYS
	feeds    *feed.Feeds
}

// New returns a server that [Server.Run] starts.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Source == nil || deps.Log == nil || deps.Registry == nil {
		return nil, errors.New("server: Deps lacks the Source, the Log or the Registry")
	}
	s := &Server{cfg: cfg, deps: deps, lanes: deps.Lanes, datasets: make(map[string]*lookups), scans: make(chan struct{}, cfg.Scans), waits: make(chan struct{}, cfg.MaxWaits)}
	if s.lanes == (lane.Lanes{}) {
		s.lanes = lane.Defaults()
	}
	var err error
	if s.indexes, err = index.Parse(cfg.Indexes); err != nil {
		return nil, fmt.Errorf("%w: FRESHET_INDEXES: %w", settings.ErrSettings, err)
	}
	for _, name := range deps.Source.Datasets() {
		d, err := deps.Source.Dataset(name)
		if err != nil {
			return nil, fmt.Errorf("serve dataset %s: %w", name, err)
		}
		s.datasets[name] = &lookups{dataset: d}
	}
	prom.Register(deps.Registry, deps.Source)
	prom.RegisterLanes(deps.Registry, s.lanes)
	if pools, ok := deps.Source.(prom.Pools); ok {
		prom.RegisterPools(deps.Registry, pools)
	}
	s.mux = web.NewMux(deps.Log, deps.Registry, s.ready)
	s.mux.Handle("GET /v1/status", s.status, web.Quiet) // monitors poll it every few seconds
	s.mux.Handle("GET /v1/datasets/{name}/records/{key...}", s.stated(s.record), web.Quiet)
	s.mux.Handle("GET /v1/datasets/{name}/records", s.stated(s.find), web.Quiet)
	s.mux.Handle("POST /v1/datasets/{name}/records:batchGet", s.stated(s.batchGet), web.Quiet)
	s.mux.Handle("POST /v1/datasets/{name}/scan", s.stated(s.scan))
	s.feeds = newFeeds(cfg, deps, s.lanes)
	s.mux.Handle("GET /v1/datasets/{name}/changes", s.stated(s.changes))
	s.server = web.NewServer(web.ServerConfig{Listen: cfg.Listen, Grace: cfg.StopGrace, Log: deps.Log}, s.Handler())
	s.port, err = s.newPort()
	return s, err
}

// Handler returns the handler of all routes.
func (s *Server) Handler() http.Handler { return web.KeepKeys(s.mux) }

// Ready returns a channel that is closed when the server listens. Addr then returns its address.
func (s *Server) Ready() <-chan struct{} { return s.server.Ready() }

// Addr returns the address that the server listens on, or "" before Ready.
func (s *Server) Addr() string { return s.server.Addr() }

// Run serves until ctx ends, then drains requests and returns nil. Call Run once.
func (s *Server) Run(ctx context.Context) error {
	if s.port != nil {
		return s.runPort(ctx)
	}
	return s.server.Run(ctx)
}

// status answers GET /v1/status.
func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Query(r); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, s.deps.Source.Status())
}
