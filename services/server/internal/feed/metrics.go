package feed

import "github.com/prometheus/client_golang/prometheus"

// The reasons for which feeds are cut.
const (
	cutStalled = "stalled" // a write took too long
	cutBehind  = "behind"  // the reader took too long for a version that is no longer served
)

type metrics struct {
	open     *prometheus.GaugeVec
	refused  prometheus.Counter
	cut      *prometheus.CounterVec
	resets   *prometheus.CounterVec
	versions *prometheus.CounterVec
	records  *prometheus.CounterVec
}

// newMetrics registers the metrics, with series for the datasets.
func newMetrics(reg prometheus.Registerer, datasets []string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		open:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "freshet_feeds_open", Help: "Change feeds that are open."}, []string{"dataset"}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_feeds_refused_total", Help: "Change feeds that were refused because as many as may be open were."}),
		cut:      counter("freshet_feeds_cut_total", "Change feeds that were cut because the reader was too slow: stalled took a part of 64 KiB for too long, behind a version that was no longer served.", "dataset", "reason"),
		resets:   counter("freshet_feed_resets_total", "Resets of change feeds, by why the reader's version could not be resumed from; start is of readers without one.", "dataset", "why"),
		versions: counter("freshet_feed_versions_total", "Versions sent to change feeds.", "dataset"),
		records:  counter("freshet_feed_records_total", "Records sent to change feeds.", "dataset"),
	}
	for _, name := range datasets {
		m.open.WithLabelValues(name)
		m.versions.WithLabelValues(name)
		m.records.WithLabelValues(name)
		for _, reason := range []string{cutStalled, cutBehind} {
			m.cut.WithLabelValues(name, reason)
		}
		for _, why := range []string{whyStart, whyNotKept, whyOtherID, whyAhead, whyUnreadable} {
			m.resets.WithLabelValues(name, why)
		}
	}
	reg.MustRegister(m.open, m.refused, m.cut, m.resets, m.versions, m.records)
	return m
}
