package relay

import (
	"sync/atomic"

	"freshet.dev/services/relay/internal/upstream"
	"github.com/prometheus/client_golang/prometheus"
)

// counters count outcomes of responses.
type counters struct {
	rejected, slow, clientBytes atomic.Int64
}

// collector turns the relay's counts into metrics on a scrape.
type collector struct{ relay *Relay }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("freshet_relay_"+name, help, labels, nil)
}

var (
	descHits     = describe("segment_hits_total", "Segments found in the cache.")
	descJoined   = describe("segment_shared_waits_total", "Waits for a read of the store that another request had begun.")
	descFills    = describe("segment_fills_total", "Segments read from the store.")
	descFailures = describe("segment_fill_failures_total", "Reads of the store that failed.")
	descBusy     = describe("segment_fill_busy_total", "Fills that failed because all memory was in use or too many reads were in progress.")
	descEvicted  = describe("segment_evictions_total", "Segments that left the cache.")
	descReads    = describe("origin_reads_total", "Reads of the store, each of one segment or several.")
	descExpelled = describe("stream_expelled_total", "Readers of an object too large for the cache that left the shared scan, mostly because they were too slow for the others.")
	descOrigin   = describe("origin_bytes_total", "Bytes of objects read from the store.")
	descClient   = describe("client_bytes_total", "Bytes of objects sent to clients.")
	descRejected = describe("rejected_total", "Requests that were refused with a Retry-After because too many responses were in progress, or the store was too busy.")
	descSlow     = describe("slow_client_cuts_total", "Responses cut off because the client took too little.")
	descOpen     = describe("connections_open", "Connections that are open.")
	descWaiting  = describe("connections_waiting", "Connections that wait for a request or for the rest of its header.")
	descClosed   = describe("connections_evicted_total", "Connections closed while they waited for a request or its header, to make place for new ones.")
	descRefused  = describe("connections_refused_total", "Connections refused because as many as may be open were being answered.")
	descActive   = describe("responses_active", "Responses in progress.")
	descResident = describe("cache_resident_bytes", "Memory that segments take now.")
	descBudget   = describe("cache_budget_bytes", "The most that segments may take.")

	descUpstreamFailures = describe("upstream_failures_total", "Times that a relay upstream was down, silent or without a usable answer.", "upstream")
	descUpstreamBusy     = describe("upstream_busy_total", "Times that a relay upstream was too busy, or had no store itself.", "upstream")
	descUpstreamOther    = describe("upstream_other_store", "1 if a relay upstream reads another store than the one that this relay answers for.", "upstream")
)

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	s := c.relay.cache.Stats()
	count(descHits, s.Hits)
	count(descJoined, s.Joined)
	count(descFills, s.Fills)
	count(descFailures, s.Failures)
	count(descBusy, s.Busy)
	count(descEvicted, s.Evicted)
	count(descReads, s.OriginReads)
	count(descExpelled, s.Expelled)
	count(descOrigin, s.OriginBytes)
	count(descClient, c.relay.count.clientBytes.Load())
	count(descRejected, c.relay.count.rejected.Load())
	count(descSlow, c.relay.count.slow.Load())
	connections := c.relay.server.Connections()
	count(descClosed, connections.Evicted)
	count(descRefused, connections.Refused)
	gauge(descWaiting, connections.Waiting)
	gauge(descOpen, connections.Open)
	gauge(descActive, int64(len(c.relay.slots)))
	gauge(descResident, s.Resident)
	gauge(descBudget, s.Budget)
	relays, ok := c.relay.deps.Store.(interface{ Health() []upstream.Health })
	if !ok {
		return // the store is no relay
	}
	for _, h := range relays.Health() {
		count(descUpstreamFailures, int64(h.Failures), h.Relay)
		count(descUpstreamBusy, int64(h.Busy), h.Relay)
		other := int64(0)
		if h.OtherStore {
			other = 1
		}
		gauge(descUpstreamOther, other, h.Relay)
	}
}
