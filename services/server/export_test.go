package server

import (
	"freshet.dev/pkg/subscribe"
	"github.com/prometheus/client_golang/prometheus"
)

// Routes returns the patterns that the server serves.
func (s *Server) Routes() []string { return s.mux.Routes() }

// Registry returns the server's metrics.
func (s *Server) Registry() *prometheus.Registry { return s.deps.Registry }

// Observer returns an Observer that counts into reg.
func Observer(reg prometheus.Registerer, datasets ...string) subscribe.Observer {
	return newMetrics(reg, datasets).observer()
}
