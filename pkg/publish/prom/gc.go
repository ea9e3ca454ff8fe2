package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet.dev/pkg/keep"
)

// gcMetrics count the runs of a [keep.Collector].
type gcMetrics struct {
	runs     *prometheus.CounterVec
	removed  prometheus.Counter
	bytes    prometheus.Counter
	unneeded prometheus.Gauge
}

// The results of runs of a collector.
const (
	resultDone    = "done"
	resultWaiting = "waiting"
)

func newGCMetrics(reg prometheus.Registerer) gcMetrics {
	g := gcMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_publisher_gc_runs_total", Help: "Looks for objects that no kept version needs, by result: done, waiting (nothing was removed, for a reason that the log has) or failed.",
		}, []string{"result"}),
		removed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_publisher_gc_removed_objects_total", Help: "Objects that were removed, because no kept version needs them."}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_publisher_gc_removed_bytes_total", Help: "Bytes of these objects."}),
		unneeded: prometheus.NewGauge(prometheus.GaugeOpts{Name: "freshet_publisher_gc_unneeded_bytes", Help: "Bytes of the objects that no kept version needed at the last look, which stay until the grace time has passed."}),
	}
	for _, result := range []string{resultDone, resultWaiting, resultFailed} {
		g.runs.WithLabelValues(result) // exists before the first
	}
	reg.MustRegister(g.runs, g.removed, g.bytes, g.unneeded)
	return g
}

// Collected returns a function that counts a run of a [keep.Collector], and then calls done.
func (m *Metrics) Collected(done func(r *keep.Report, took time.Duration, err error)) func(r *keep.Report, took time.Duration, err error) {
	return func(r *keep.Report, took time.Duration, err error) {
		result := resultDone
		switch {
		case err != nil:
			result = resultFailed
		case len(r.Waiting) > 0:
			result = resultWaiting
		}
		m.gc.runs.WithLabelValues(result).Inc()
		if r != nil {
			m.gc.removed.Add(float64(r.Removed.Objects))
			m.gc.bytes.Add(float64(r.Removed.Bytes))
			if err == nil {
				m.gc.unneeded.Set(float64(r.Unneeded.Bytes))
			}
		}
		done(r, took, err)
	}
}
