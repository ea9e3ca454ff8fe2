package prom

import (
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/prometheus/client_golang/prometheus"
)

// statusCollector makes metrics of the subscriber's status during each scrape, so that they are never older than the answer.
type statusCollector struct{ source Source }

// Source reports the status of a subscriber. [subscribe.Subscriber] is one.
type Source interface {
	// Status returns the served versions and the state of their refreshes.
	Status() fleet.Status
}

// Register registers metrics of the status of source. It panics if reg already has them.
func Register(reg prometheus.Registerer, source Source) { reg.MustRegister(statusCollector{source}) }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("freshet_"+name, help, labels, nil)
}

var (
	descVersion = describe("dataset_version", "Version that is served; 0 for none.", "dataset")
	descNewest  = describe("dataset_newest_version", "Newest version that the instance knows of, served or not; 0 for none.", "dataset")
	descRecords = describe("dataset_records", "Records of the served version.", "dataset")
	descBytes   = describe("dataset_resident_bytes", "Memory of the served version's table.", "dataset")
	descKept    = describe("dataset_kept_versions", "Earlier versions whose tables are kept, so that a rollback to one of them needs no pull.", "dataset")
	descKeptIn  = describe("dataset_kept_bytes", "Memory that the kept tables of earlier versions take in addition to the served version's table.", "dataset")
	descState   = describe("dataset_state", "1 for the state that the dataset is in, 0 for all others.", "dataset", "state")
	descSince   = describe("dataset_state_since_timestamp_seconds", "When the dataset entered its state.", "dataset")
	descAge     = describe("dataset_age_seconds", "Time since the served version was committed.", "dataset")
	descBehind  = describe("dataset_behind_seconds", "Time since a newer version became known that is not served; 0 if there is none.", "dataset")
	descBeacon  = describe("beacon_age_seconds", "Time since a beacon or a catch-up last confirmed the newest version of the dataset; since the start if none has.", "dataset")
	descPanics  = describe("refresh_panics_total", "Attempts to refresh that failed with a panic.", "dataset")
	descHealed  = describe("healed_versions_total", "Versions without an event, which the instance knows from a beacon.", "dataset")

	descIndexRecords = describe("index_records", "Records that a secondary index has.", "dataset", "index")
	descIndexEntries = describe("index_entries", "Entries of a secondary index; more than its records for ranges of addresses, which are split.", "dataset", "index")
	descIndexBytes   = describe("index_resident_bytes", "Memory of a secondary index.", "dataset", "index")
	descIndexUpdate  = describe("index_update_seconds", "Time that the last update of the dataset's secondary indexes took.", "dataset", "index")
	descIndexBehind  = describe("index_behind_seconds", "Time since a newer version than that of the secondary index is served; 0 if none is.", "dataset", "index")
	descIndexLacking = describe("index_lacking_records", "Records that a secondary index lacks, by the reason.", "dataset", "index", "reason")

	descForeign      = describe("foreign_messages_total", "Events and beacons of stores other than the relays', which were ignored.")
	descStoreChanges = describe("store_changes_total", "Times that all relays moved to another store.")

	descRelayFailures = describe("pull_relay_failures_total", "Requests for which a relay was down, silent or without a usable answer.", "relay")
	descRelayRefusals = describe("pull_relay_refusals_total", "Times that a relay gave wrong bytes, which were discarded.", "relay")
)

// Describe implements [prometheus.Collector].
func (c statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descVersion, descNewest, descRecords, descBytes, descKept, descKeptIn, descState, descSince, descAge, descBehind, descBeacon, descPanics, descHealed,
		descIndexRecords, descIndexEntries, descIndexBytes, descIndexUpdate, descIndexBehind, descIndexLacking,
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
		if seen[r.Relay] { // configured twice; a duplicate series would make the whole scrape fail
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
		gauge(ch, descKept, float64(d.KeptVersions), d.Dataset)
		gauge(ch, descKeptIn, float64(d.KeptBytes), d.Dataset)
		collectFreshness(ch, status, d, now)
		counter(ch, descPanics, float64(d.Refreshes.Panicked), d.Dataset)
		counter(ch, descHealed, float64(d.Refreshes.Healed), d.Dataset)
		collectIndexes(ch, d)
	}
}

func collectIndexes(ch chan<- prometheus.Metric, d fleet.DatasetStatus) {
	for _, x := range d.Indexes {
		gauge(ch, descIndexRecords, float64(x.Records), d.Dataset, x.Index)
		gauge(ch, descIndexEntries, float64(x.Entries), d.Dataset, x.Index)
		gauge(ch, descIndexBytes, float64(x.Bytes), d.Dataset, x.Index)
		gauge(ch, descIndexUpdate, x.UpdateSeconds, d.Dataset, x.Index)
		gauge(ch, descIndexBehind, x.BehindSeconds, d.Dataset, x.Index)
		for _, l := range x.Lacking {
			gauge(ch, descIndexLacking, float64(l.Records), d.Dataset, x.Index, l.Reason)
		}
	}
}

// collectFreshness sends a series for every state, also for states that the dataset was never in.
func collectFreshness(ch chan<- prometheus.Metric, s fleet.Status, d fleet.DatasetStatus, now time.Time) {
	for _, state := range fleet.States {
		is := 0.0
		if d.State == state {
			is = 1
		}
		gauge(ch, descState, is, d.Dataset, string(state))
	}
	gauge(ch, descSince, seconds(d.Since), d.Dataset)
	if d.Version > 0 { // no version, no age
		gauge(ch, descAge, d.AgeSeconds, d.Dataset)
	}
	gauge(ch, descBehind, d.Behind(now).Seconds(), d.Dataset)
	confirmed := d.Confirmed
	if confirmed.IsZero() {
		confirmed = s.Started
	}
	gauge(ch, descBeacon, max(0, now.Sub(confirmed)).Seconds(), d.Dataset)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
}
