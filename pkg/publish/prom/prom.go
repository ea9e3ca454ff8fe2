// Package prom exports the metrics of a publisher to Prometheus: the same names, labels and help as the publisher service's, so
// that alerts for the service also work for pipelines that link the library.
//
//	metrics := prom.New(prometheus.DefaultRegisterer)
//	metrics.Observe(&config) // before publish.Open
//	...
//	result, err := publisher.Publish(ctx, "prices", input)
//	if err != nil {
//		metrics.Failed("pipeline")
//	} else {
//		metrics.Published(result, bytes, time.Since(start))
//	}
package prom

import (
	"sync/atomic"
	"time"

	"freshet.dev/pkg/publish"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts publishes and the work of [publish.Publisher.Run]. Only existing datasets become labels, so that clients cannot
// create any number of labels. It is safe for concurrent use.
type Metrics struct {
	publishes *prometheus.CounterVec
	failures  *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	seconds   prometheus.Histogram
	version   *prometheus.GaugeVec
	records   *prometheus.GaugeVec
	created   *prometheus.GaugeVec
	changed   *prometheus.CounterVec
	deltas    *prometheus.CounterVec
	chain     *prometheus.GaugeVec
	pending   *prometheus.CounterVec
	compacts  *prometheus.CounterVec
	beacons   *prometheus.CounterVec
	unread    prometheus.Gauge
	repairs   *prometheus.CounterVec
	gc        gcMetrics

	lastBeacon atomic.Int64 // when the last one was sent, in nanoseconds of Unix time; before the first, the start
}

// New registers the metrics. It panics if reg already has them.
func New(reg prometheus.Registerer) *Metrics {
	perDataset := []string{"dataset"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "freshet_publisher_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "freshet_publisher_" + name, Help: help}, perDataset)
	}
	m := &Metrics{
		publishes: counter("publishes_total", "Publishes that succeeded, by whether they created a version.", "dataset", "created"),
		failures:  counter("publish_failures_total", "Publishes that failed, by the problem that was answered.", "problem"),
		bytes:     counter("body_bytes_total", "Bytes of bodies that were published, as sent.", "dataset"),
		pending:   counter("incomplete_total", "Publishes after whose commit something went wrong; a repair completes them.", "dataset"),
		compacts:  counter("compactions_total", "Snapshots that were due and written in the background, or not, by result.", "dataset", "result"),
		changed:   counter("changed_records_total", "Records that versions published here added, changed or removed.", "dataset", "change"),
		deltas:    counter("delta_bytes_total", "Bytes of the deltas of versions published here: what an instance pulls that follows them all.", "dataset"),
		chain:     gauge("chain_deltas", "Deltas that lead from its snapshot to the newest version published here, which an instance pulls that begins with nothing."),
		version:   gauge("version", "Newest version published here."),
		records:   gauge("records", "Records of the newest version published here."),
		created:   gauge("version_created_timestamp_seconds", "When the newest version published here was committed."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freshet_publisher_publish_seconds", Help: "Time that a publish that succeeded took, from the request's header on.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10), // 10 ms to 44 minutes
		}),
	}
	m.beacons = counter("beacons_total", "Rounds of the beacon, by result: sent or failed.", "result")
	m.unread = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "freshet_publisher_beacon_unread_datasets", Help: "Datasets that the last beacon did not name, because their newest version could not be read.",
	})
	m.lastBeacon.Store(time.Now().UnixNano())
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_publisher_beacon_age_seconds", Help: "Time since the last beacon was sent, or since the start if none was.",
	}, func() float64 { return time.Since(time.Unix(0, m.lastBeacon.Load())).Seconds() })
	for _, result := range []string{resultSent, resultFailed} {
		m.beacons.WithLabelValues(result) // exists before the first
	}
	m.repairs = counter("repairs_total", "Datasets that the event log (announce) or the catalog (index) was behind for, by what became of it.", "what", "result")
	for _, what := range []string{publish.RepairAnnounce, publish.RepairIndex} {
		for _, result := range []string{resultRepaired, resultFailed} {
			m.repairs.WithLabelValues(what, result) // exists before the first
		}
	}
	m.gc = newGCMetrics(reg)
	reg.MustRegister(m.beacons, m.unread, age, m.repairs)
	reg.MustRegister(m.publishes, m.failures, m.bytes, m.changed, m.deltas, m.chain, m.pending, m.compacts, m.version, m.records, m.created, m.seconds)
	return m
}

// Observe makes cfg count what Run does, in addition to what cfg already calls.
func (m *Metrics) Observe(cfg *publish.Config) {
	beacon, repair, compact := cfg.OnBeacon, cfg.OnRepair, cfg.OnCompact
	cfg.OnBeacon = func(r publish.BeaconRound) {
		m.beaconRound(r)
		if beacon != nil {
			beacon(r)
		}
	}
	cfg.OnRepair = func(r publish.RepairResult) {
		m.repaired(r)
		if repair != nil {
			repair(r)
		}
	}
	cfg.OnCompact = func(name string, c publish.Compaction, took time.Duration, err error) {
		m.compacted(name, err)
		if compact != nil {
			compact(name, c, took, err)
		}
	}
}

// Published counts a publish or patch that succeeded, with the bytes of its input as received and its duration.
func (m *Metrics) Published(r publish.Result, bytes int64, took time.Duration) {
	name := r.Record.Dataset
	created := "false"
	if r.Created && !r.Repeated {
		created = "true"
		m.changed.WithLabelValues(name, "added").Add(float64(r.Record.Changes.Added))
		m.changed.WithLabelValues(name, "changed").Add(float64(r.Record.Changes.Changed))
		m.changed.WithLabelValues(name, "removed").Add(float64(r.Record.Changes.Removed))
		m.deltas.WithLabelValues(name).Add(0) // a first version has none
		if own, ok := r.Record.OwnDelta(); ok {
			m.deltas.WithLabelValues(name).Add(float64(own.Bytes))
		}
	}
	m.chain.WithLabelValues(name).Set(float64(len(r.Record.Chain()) - 1))
	m.publishes.WithLabelValues(name, created).Inc()
	m.bytes.WithLabelValues(name).Add(float64(bytes))
	m.seconds.Observe(took.Seconds())
	m.version.WithLabelValues(name).Set(float64(r.Record.Version))
	m.records.WithLabelValues(name).Set(float64(r.Record.State.Records))
	m.created.WithLabelValues(name).Set(float64(r.Record.Created.UnixMilli()) / 1000)
	for _, result := range []string{resultWritten, resultFailed} {
		m.compacts.WithLabelValues(name, result) // exists before the first
	}
	if len(r.Warnings) > 0 {
		m.pending.WithLabelValues(name).Inc()
	}
}

// The results of compactions, beacons and repairs.
const (
	resultWritten  = "written"
	resultSent     = "sent"
	resultRepaired = "repaired"
	resultFailed   = "failed"
)

// repaired counts a repair. A repair without What counts for both: the store could not be read.
func (m *Metrics) repaired(r publish.RepairResult) {
	result := resultRepaired
	if r.Err != nil {
		result = resultFailed
	}
	for _, what := range []string{publish.RepairAnnounce, publish.RepairIndex} {
		if r.What == what || r.What == "" {
			m.repairs.WithLabelValues(what, result).Inc()
		}
	}
}

// beaconRound counts a round of the beacon, unless there is no NATS to send to.
func (m *Metrics) beaconRound(r publish.BeaconRound) {
	switch {
	case r.Err != nil:
		m.beacons.WithLabelValues(resultFailed).Inc()
	case !r.Sent.IsZero():
		m.beacons.WithLabelValues(resultSent).Inc()
		m.lastBeacon.Store(time.Now().UnixNano())
		m.unread.Set(float64(len(r.Unread)))
	}
}

func (m *Metrics) compacted(name string, err error) {
	result := resultWritten
	if err != nil {
		result = resultFailed
	}
	m.compacts.WithLabelValues(name, result).Inc()
}

// Failed counts a publish or patch that failed. Problem is one of a small set of words; each becomes a label.
func (m *Metrics) Failed(problem string) { m.failures.WithLabelValues(problem).Inc() }
