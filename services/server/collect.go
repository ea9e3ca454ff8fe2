package server

import (
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/prometheus/client_golang/prometheus"
)

// statusCollector turns the subscriber's status into metrics when they are asked for, so that they are never older than
// the answer.
type statusCollector struct{ source Source }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("freshet_"+name, help, labels, nil)
}

var (
	descVersion = describe("dataset_version", "Version that is served, 0 for none.", "dataset")
	descNewest  = describe("dataset_newest_version", "Newest version that the instance knows of, served or not; 0 for none.", "dataset")
	descRecords = describe("dataset_records", "Records of the served version.", "dataset")
	descBytes   = describe("dataset_resident_bytes", "Memory that the table of the served version takes.", "dataset")
	descState   = describe("dataset_state", "1 for the state that the dataset is in, 0 for all others.", "dataset", "state")
	descSince   = describe("dataset_state_since_timestamp_seconds", "When the dataset came into its state.", "dataset")
	descAge     = describe("dataset_age_seconds", "Time since the served version was committed.", "dataset")
	descBehind  = describe("dataset_behind_seconds", "How long a newer version has been known and not served; 0 if none is.", "dataset")
	descBeacon  = describe("beacon_age_seconds", "Time since a beacon, or the answer to a catch-up, last vouched for the dataset; since the start if none has.", "dataset")
	descPanics  = describe("refresh_panics_total", "Attempts to refresh that failed because something panicked.", "dataset")
	descHealed  = describe("healed_versions_total", "Versions of which no event came, and which the instance learned of by a beacon.", "dataset")

	descForeign      = describe("foreign_messages_total", "Events and beacons of other stores than the relays', which were ignored.")
	descStoreChanges = describe("store_changes_total", "Times that all relays came to read another store.")

	descRelayFailures = describe("pull_relay_failures_total", "Times that a relay was down, silent or without a usable answer.", "relay")
	descRelayRefusals = describe("pull_relay_refusals_total", "Times that a relay gave wrong bytes, which were discarded.", "relay")
)

// Describe implements [prometheus.Collector].
func (c statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descVersion, descNewest, descRecords, descBytes, descState, descSince, descAge, descBehind, descBeacon, descPanics, descHealed,
		descForeign, descStoreChanges, descRelayFailures, descRelayRefusals,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c statusCollector) Collect(ch chan<- prometheus.Metric) {
	status, now := c.source.Status(), time.Now()
	counter(ch, descForeign, float64(status.ForeignMessages))
	counter(ch, descStoreChanges, float64(status.StoreChanges))
	seen := make(map[string]bool, len(status.Relays))
	for _, r := range status.Relays {
		if seen[r.Relay] { // listed twice; two series of the same name would spoil all metrics
			continue
		}
		seen[r.Relay] = true
		counter(ch, descRelayFailures, float64(r.Failures), r.Relay)
		counter(ch, descRelayRefusals, float64(r.Refusals), r.Relay)
	}
	for _, d := range status.Datasets {
		gauge(ch, descVersion, float64(d.Version), d.Dataset)
		gauge(ch, descNewest, float64(d.Newest), d.Dataset)
		gauge(ch, descRecords, float64(d.Records), d.Dataset)
		gauge(ch, descBytes, float64(d.Bytes), d.Dataset)
		collectFreshness(ch, status, d, now)
		counter(ch, descPanics, float64(d.Refreshes.Panicked), d.Dataset)
		counter(ch, descHealed, float64(d.Refreshes.Healed), d.Dataset)
	}
}

// collectFreshness has a series for every state, so that a query finds each whether it ever was or not.
func collectFreshness(ch chan<- prometheus.Metric, s fleet.Status, d fleet.DatasetStatus, now time.Time) {
	for _, state := range fleet.States {
		is := 0.0
		if d.State == state {
			is = 1
		}
		gauge(ch, descState, is, d.Dataset, string(state))
	}
	gauge(ch, descSince, seconds(d.Since), d.Dataset)
	if d.Version > 0 { // what is not there has no age
		gauge(ch, descAge, d.AgeSeconds, d.Dataset)
	}
	gauge(ch, descBehind, behindFor(d, now).Seconds(), d.Dataset)
	vouched := d.Vouched
	if vouched.IsZero() {
		vouched = s.Started
	}
	gauge(ch, descBeacon, max(0, now.Sub(vouched)).Seconds(), d.Dataset)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}
