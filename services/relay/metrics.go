package relay

import (
	"sync/atomic"

	"freshet.dev/services/relay/internal/upstream"
	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "freshet_relay_"

// counters count outcomes of responses.
type counters struct {
	rejected, slow, clientBytes atomic.Int64
}

// register registers the relay's metrics.
func (r *Relay) register() {
	counter := func(name, help string, value func() int64) {
		r.deps.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: prefix + name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, value func() int64) {
		r.deps.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, func() float64 { return float64(value()) }))
	}
	cache, connections := &r.cache.Count, r.server.Connections
	counter("segment_hits_total", "Segments found in the cache.", cache.Hits.Load)
	counter("segment_shared_waits_total", "Waits for a read of the store that another request had begun.", cache.Joined.Load)
	counter("segment_fills_total", "Segments read from the store.", cache.Fills.Load)
	counter("segment_fill_failures_total", "Reads of the store that failed.", cache.Failures.Load)
	counter("segment_fill_busy_total", "Fills that failed because all memory was in use or too many reads were in progress.", cache.Busy.Load)
	counter("segment_evictions_total", "Segments that left the cache.", cache.Evicted.Load)
	counter("origin_reads_total", "Reads of the store, each of one segment or several.", cache.OriginReads.Load)
	counter("origin_bytes_total", "Bytes of objects read from the store.", cache.OriginBytes.Load)
	counter("stream_expelled_total", "Readers of an object too large for the cache that left the shared scan, mostly because they were too slow for the others.", r.cache.Expelled)
	counter("client_bytes_total", "Bytes of objects sent to clients.", r.count.clientBytes.Load)
	counter("rejected_total", "Requests that were refused with a Retry-After because too many responses were in progress, or the store was too busy.", r.count.rejected.Load)
	counter("slow_client_cuts_total", "Responses cut off because the client took too little.", r.count.slow.Load)
	counter("connections_evicted_total", "Connections closed while they waited for a request or its header, to make place for new ones.", func() int64 { return connections().Evicted })
	counter("connections_refused_total", "Connections refused because as many as may be open were being answered.", func() int64 { return connections().Refused })
	gauge("connections_open", "Connections that are open.", func() int64 { return connections().Open })
	gauge("connections_waiting", "Connections that wait for a request or for the rest of its header.", func() int64 { return connections().Waiting })
	gauge("responses_active", "Responses in progress.", func() int64 { return int64(len(r.slots)) })
	gauge("cache_resident_bytes", "Memory that segments take now.", r.cache.Resident)
	gauge("cache_budget_bytes", "The most that segments may take.", r.cache.Budget)
	if relays, ok := r.deps.Store.(*upstream.Origin); ok {
		r.deps.Registry.MustRegister(upstreams{relays})
	}
}

// upstreams turns the health of the relays upstream into metrics on a scrape.
type upstreams struct{ *upstream.Origin }

var (
	upstreamFailures = prometheus.NewDesc(prefix+"upstream_failures_total", "Times that a relay upstream was down, silent or without a usable answer.", []string{"upstream"}, nil)
	upstreamBusy     = prometheus.NewDesc(prefix+"upstream_busy_total", "Times that a relay upstream was too busy, or had no store itself.", []string{"upstream"}, nil)
	upstreamOther    = prometheus.NewDesc(prefix+"upstream_other_store", "1 if a relay upstream reads another store than the one that this relay answers for.", []string{"upstream"}, nil)
)

// Describe implements [prometheus.Collector].
func (u upstreams) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(u, ch) }

// Collect implements [prometheus.Collector].
func (u upstreams) Collect(ch chan<- prometheus.Metric) {
	for _, h := range u.Health() {
		other := 0.0
		if h.OtherStore {
			other = 1
		}
		ch <- prometheus.MustNewConstMetric(upstreamFailures, prometheus.CounterValue, float64(h.Failures), h.Relay)
		ch <- prometheus.MustNewConstMetric(upstreamBusy, prometheus.CounterValue, float64(h.Busy), h.Relay)
		ch <- prometheus.MustNewConstMetric(upstreamOther, prometheus.GaugeValue, other, h.Relay)
	}
}
