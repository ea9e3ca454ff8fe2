package server

import "github.com/prometheus/client_golang/prometheus"

// Routes returns the patterns that the server serves.
func (s *Server) Routes() []string { return s.mux.Routes() }

// Registry returns the server's metrics.
func (s *Server) Registry() *prometheus.Registry { return s.deps.Registry }

// Waiting returns how many lookups wait for a version.
func (s *Server) Waiting() int { return len(s.waits) }
