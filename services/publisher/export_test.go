package publisher

import (
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Routes returns the patterns that the publisher serves.
func (p *Publisher) Routes() []string { return p.mux.Routes() }

// Registry returns the publisher's metrics.
func (p *Publisher) Registry() *prometheus.Registry { return p.deps.Registry }

// NewBody returns the request's body with limits for its time.
func NewBody(w http.ResponseWriter, r *http.Request, stall time.Duration, rate int64, whole time.Duration) io.Reader {
	return newBody(w, r, bodyLimits{bytes: 1 << 30, stall: stall, rate: rate, time: whole})
}
