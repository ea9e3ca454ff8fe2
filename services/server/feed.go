package server

import (
	"net/http"
	"time"

	"freshet.dev/pkg/lane"
	"freshet.dev/services/server/internal/feed"
)

// feedHeartbeat is shorter than the idle timeouts of proxies, which begin at 30 s.
const feedHeartbeat = 15 * time.Second

// feedAhead is how long a feed waits for a version that its reader has from a faster instance.
const feedAhead = 5 * time.Second

func newFeeds(cfg Config, deps Deps, lanes lane.Lanes) *feed.Feeds {
	return feed.New(
		feed.Config{Most: cfg.Feeds, Stall: cfg.FeedStall, Behind: cfg.FeedBehind, Heartbeat: feedHeartbeat, Ahead: feedAhead},
		feed.Deps{CPU: lanes.CPU, Registry: deps.Registry, Datasets: deps.Source.Datasets()},
	)
}

// changes answers GET /v1/datasets/{name}/changes.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	l, ok := s.datasets[name]
	if !ok {
		return s.unknownDataset(name)
	}
	w.Header()[stateHeader] = l.state() // at the start of the feed
	return s.feeds.Serve(w, r, name, l.dataset)
}
