package web

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkObserve compares what the metrics cost a lookup with the present buckets, with the coarse ones of releases up to v0.4, and with a
// native histogram.
func BenchmarkObserve(b *testing.B) {
	for name, change := range map[string]func(*prometheus.HistogramOpts){
		"fine":   func(*prometheus.HistogramOpts) {},
		"coarse": func(o *prometheus.HistogramOpts) { o.Buckets = prometheus.ExponentialBuckets(50e-6, 4, 12) },
		"native": func(o *prometheus.HistogramOpts) { o.NativeHistogramBucketFactor = 1.1 },
	} {
		m := newMetrics(prometheus.NewRegistry())
		opts := prometheus.HistogramOpts{Name: "x", Buckets: buckets}
		change(&opts)
		m.seconds = prometheus.NewHistogramVec(opts, []string{"route"})
		route := m.of("GET /v1/datasets/{name}/records/{key...}")
		b.Run(name, func(b *testing.B) {
			took := 40 * time.Microsecond
			for b.Loop() {
				route.observe(200, 1000, took)
			}
		})
	}
}
