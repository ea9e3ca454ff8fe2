package relay

import "github.com/prometheus/client_golang/prometheus"

// Routes returns the patterns that the relay serves.
func (r *Relay) Routes() []string { return r.mux.Routes() }

// Registry returns the relay's metrics.
func (r *Relay) Registry() *prometheus.Registry { return r.deps.Registry }
