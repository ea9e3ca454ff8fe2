package publisher

import "github.com/prometheus/client_golang/prometheus"

// Routes returns the patterns that the publisher serves.
func (p *Publisher) Routes() []string { return p.mux.Routes() }

// Registry returns the publisher's metrics.
func (p *Publisher) Registry() *prometheus.Registry { return p.deps.Registry }
