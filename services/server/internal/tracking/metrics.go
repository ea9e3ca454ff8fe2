package tracking

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counts count what was sent to clients.
type counts struct{ invalidations, flushes, evictions atomic.Int64 }

// collector turns the tracker's counts into metrics on a scrape.
type collector struct{ t *Tracker }

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("freshet_resp_tracking_"+name, help, nil, nil)
}

var (
	descKeys          = describe("keys", "Keys that clients track, each once for each client.")
	descLimit         = describe("keys_limit", "The most keys that clients may track together.")
	descClients       = describe("clients", "Clients that track keys or prefixes.")
	descInvalidations = describe("invalidations_total", "Keys invalidated, each once for each client.")
	descFlushes       = describe("flushes_total", "Invalidations of all keys, each once for each client.")
	descEvictions     = describe("evictions_total", "Keys invalidated because the most keys that may be tracked were tracked.")
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, n int64) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(n))
	}
	send(descKeys, prometheus.GaugeValue, c.t.total.Load())
	send(descLimit, prometheus.GaugeValue, c.t.limit)
	send(descClients, prometheus.GaugeValue, c.t.active.Load())
	send(descInvalidations, prometheus.CounterValue, c.t.counts.invalidations.Load())
	send(descFlushes, prometheus.CounterValue, c.t.counts.flushes.Load())
	send(descEvictions, prometheus.CounterValue, c.t.counts.evictions.Load())
}
