package prom

import (
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts the subscriber's events.
type metrics struct {
	refreshes *prometheus.CounterVec
	failures  *prometheus.CounterVec
	refused   *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	pulled    *prometheus.CounterVec
	deltas    *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
	swapped   *prometheus.GaugeVec
	created   *prometheus.GaugeVec
	cache     *prometheus.CounterVec
	catchUps  *prometheus.CounterVec
	restarts  prometheus.Counter
	changes   *prometheus.CounterVec
}

// The kinds of refreshes.
const (
	kindFull  = "full"  // from a snapshot
	kindDelta = "delta" // from the version before
)

func kindOf(r subscribe.Refresh) string {
	if r.Full {
		return kindFull
	}
	return kindDelta
}

// newMetrics registers metrics of the datasets. All series exist from the start, with 0 for events that have not happened.
func newMetrics(reg prometheus.Registerer, datasets []string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "freshet_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "freshet_" + name, Help: help}, []string{"dataset"})
	}
	m := &metrics{
		refreshes: counter("refreshes_total", "Versions that became served, by their origin and whether made from a snapshot (full) or from the version before (delta).", "dataset", "from", "kind"),
		failures:  counter("refresh_failures_total", "Attempts to refresh that failed.", "dataset"),
		refused:   counter("versions_refused_total", "Versions that the bounds of the instance refused, by the bound.", "dataset", "bound"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_refresh_seconds", Help: "Time from the start of a refresh to the swap.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 12), // 100 microseconds, a delta, to 7 minutes
		}, []string{"dataset", "kind"}),
		pulled:    counter("pulled_bytes_total", "Bytes pulled from relays by refreshes that succeeded.", "dataset", "kind"),
		deltas:    counter("deltas_applied_total", "Deltas applied by refreshes that succeeded.", "dataset"),
		fallbacks: counter("deltas_given_up_total", "Refreshes whose deltas did not lead to the version, so that its snapshot was pulled.", "dataset"),
		swapped:   gauge("last_swap_timestamp_seconds", "When the served version was swapped in."),
		created:   gauge("version_created_timestamp_seconds", "When the served version was committed, by the publisher's clock."),
		cache:     counter("cache_failures_total", "Failures to read or write the cache folder.", "dataset"),
		catchUps:  counter("catch_ups_total", "Queries of the event log for the newest versions.", "outcome"),
		changes:   counter("dataset_state_changes_total", "Changes of state, by the state that the dataset entered.", "dataset", "state"),
		restarts:  prometheus.NewCounter(prometheus.CounterOpts{Name: "freshet_loop_restarts_total", Help: "Panics of the supervised goroutine."}),
	}
	reg.MustRegister(m.refreshes, m.failures, m.refused, m.seconds, m.pulled, m.deltas, m.fallbacks, m.swapped, m.created, m.cache, m.catchUps, m.changes, m.restarts)
	for _, name := range datasets {
		for _, kind := range []string{kindFull, kindDelta} {
			m.refreshes.WithLabelValues(name, string(fleet.Relay), kind)
			m.pulled.WithLabelValues(name, kind)
		}
		for _, state := range fleet.States {
			m.changes.WithLabelValues(name, string(state))
		}
		for _, bound := range subscribe.BoundNames() {
			m.refused.WithLabelValues(name, bound)
		}
		for _, c := range []*prometheus.CounterVec{m.failures, m.deltas, m.fallbacks, m.cache} {
			c.WithLabelValues(name)
		}
	}
	return m
}

// Observer registers metrics of refreshes of the datasets, and returns the Observer that counts into them, for
// [subscribe.Config]. It panics if reg already has them. A program with another Observer combines both with [subscribe.TeeObserver].
func Observer(reg prometheus.Registerer, datasets ...string) subscribe.Observer {
	return newMetrics(reg, datasets).observer()
}

func (m *metrics) observer() subscribe.Observer {
	return subscribe.Observer{
		Swapped: func(r subscribe.Refresh) {
			name, kind := r.Record.Dataset, kindOf(r)
			m.refreshes.WithLabelValues(name, string(r.From), kind).Inc()
			m.deltas.WithLabelValues(name).Add(float64(r.Deltas))
			if r.Fallback != nil {
				m.fallbacks.WithLabelValues(name).Inc()
			}
			m.seconds.WithLabelValues(name, kind).Observe(r.Duration.Seconds())
			m.pulled.WithLabelValues(name, kind).Add(float64(r.PulledBytes))
			m.swapped.WithLabelValues(name).Set(seconds(r.At))
			m.created.WithLabelValues(name).Set(seconds(r.Record.Created))
		},
		Failed: func(e subscribe.Failure) {
			m.failures.WithLabelValues(e.Record.Dataset).Inc()
			if e.Bound != "" && !e.Repeated {
				m.refused.WithLabelValues(e.Record.Dataset, e.Bound).Inc()
			}
		},
		CacheFailed: func(e subscribe.CacheFailure) { m.cache.WithLabelValues(e.Dataset).Inc() },
		CaughtUp: func(e subscribe.CatchUp) {
			outcome := "succeeded"
			if e.Err != nil {
				outcome = "failed"
			}
			m.catchUps.WithLabelValues(outcome).Inc()
		},
		StateChanged: func(e subscribe.StateChange) {
			m.changes.WithLabelValues(e.Dataset, string(e.Now)).Inc()
		},
		Restarted: func(subscribe.Restart) { m.restarts.Inc() },
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
