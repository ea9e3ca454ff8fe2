package feed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/table"
	"freshet.dev/services/internal/web"
	"github.com/prometheus/client_golang/prometheus"
)

// Dataset is what feeds read of a dataset, such as a [subscribe.Dataset].
type Dataset interface {
	// Table returns the version that is served now, nil before the first.
	Table() *table.Table
	// Deleted returns the record of the version that deletes the dataset; ok is false if it is not deleted.
	Deleted() (rec dataset.VersionRecord, ok bool)
	// Follow returns a follower of the dataset.
	Follow() Follower
	// Since returns the swap from an earlier version to that of the swap to; ok is false if the earlier one is not kept.
	Since(from dataset.Ref, to subscribe.Swap) (swap subscribe.Swap, ok bool)
}

// Follower passes on the swaps of a dataset, as a [subscribe.Follower] does.
type Follower interface {
	Changed() <-chan struct{}
	Take() (swap subscribe.Swap, ok bool)
	Stop()
}

// Config configures [Feeds]. All fields are required.
type Config struct {
	// Most is how many feeds may be open. Zero refuses all.
	Most int
	// Stall is how long a reader may take for 64 KiB.
	Stall time.Duration
	// Behind is how long a feed may go on with the records of a table after a newer one is served.
	Behind time.Duration
	// Heartbeat is the pause after which an idle feed sends a heartbeat.
	Heartbeat time.Duration
	// Ahead is how long a feed waits for the version of a reader that has a newer one than is served.
	Ahead time.Duration
}

// Deps are what feeds use.
type Deps struct {
	CPU      *lane.Lane
	Registry prometheus.Registerer
	// Datasets are the names of the datasets, for metrics.
	Datasets []string
}

// Feeds are the open feeds of a server. It is safe for concurrent use.
type Feeds struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	slots   chan struct{} // one for each open feed
}

// New returns Feeds, and registers their metrics.
func New(cfg Config, deps Deps) *Feeds {
	return &Feeds{cfg: cfg, deps: deps, metrics: newMetrics(deps.Registry, deps.Datasets), slots: make(chan struct{}, cfg.Most)}
}

// retryAfter is how many seconds a refused reader waits at least. An EventSource waits between reconnectMin and reconnectMax, so that the
// readers of a server that stops do not come back at the same time.
const (
	retryAfter   = 5
	reconnectMin = time.Second
	reconnectMax = 4 * time.Second
)

// Serve answers a request for the changes of the dataset until the reader leaves, is too slow, or the server stops. The error is a
// *web.Problem if the response has not begun.
func (f *Feeds) Serve(w http.ResponseWriter, r *http.Request, name string, d Dataset) error {
	q, err := parse(r)
	if err != nil {
		return err
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		f.metrics.refused.Inc()
		return web.Unavailable("too-many-feeds", retryAfter, nil, "%d change feeds are open, and FRESHET_FEEDS allows no more; retry later, or ask another instance", f.cfg.Most).
			With("limit", f.cfg.Most)
	}
	h := w.Header()
	h.Set("Content-Type", q.format.contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not collect events
	if r.Method == http.MethodHead {
		return nil
	}
	open := f.metrics.open.WithLabelValues(name)
	open.Inc()
	defer open.Dec()
	stop := web.Stopping(r.Context())
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	out := &stream{w: w, control: http.NewResponseController(w), stall: f.cfg.Stall, stop: stop}
	defer context.AfterFunc(stop, func() { cancel(errStopping); out.hurry() })()
	follower := d.Follow()
	defer follower.Stop()
	rd := &reader{Feeds: f, name: name, dataset: d, follower: follower, request: q, out: out, opened: time.Now()}
	retry := reconnectMin + rand.N(reconnectMax-reconnectMin)
	w.WriteHeader(http.StatusOK)
	if err = out.write(q.format.appendStart(nil, retry)); err == nil {
		err = rd.run(ctx)
	}
	return f.ended(name, rd, context.Cause(ctx), err)
}

// ended says goodbye to the reader if the server stops, and counts a feed that was cut.
func (f *Feeds) ended(name string, rd *reader, cause, err error) error {
	switch {
	case errors.Is(cause, errStopping):
		if last, encodeErr := rd.format.appendEvent(nil, eventEnd, "", end{eventEnd, "the server stops; connect again"}); encodeErr == nil && rd.out.write(last) == nil {
			return nil
		}
		return fmt.Errorf("end the feed of dataset %s: %w", name, err)
	case errors.Is(err, errStalled):
		f.metrics.cut.WithLabelValues(name, cutStalled).Inc()
	case errors.Is(err, errBehind):
		f.metrics.cut.WithLabelValues(name, cutBehind).Inc()
	}
	return fmt.Errorf("the feed of dataset %s ended: %w", name, err)
}
