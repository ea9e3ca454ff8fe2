package prom_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/prom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Refreshes are counted by kind, with the bytes pulled and the deltas applied. Series without events are 0.
func TestRefreshMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := prom.Observer(reg, "cities", "prices")
	swapped := func(version uint64, from fleet.Origin, pulled int64, full bool, deltas int, fallback error) {
		o.Swapped(subscribe.Refresh{
			Record: dataset.VersionRecord{Dataset: "cities", Version: version, Created: time.Unix(1767323045, 0)},
			From:   from, PulledBytes: pulled, Full: full, Deltas: deltas, Fallback: fallback, Duration: 200 * time.Microsecond,
		})
	}
	swapped(1, fleet.Cache, 0, true, 2, nil)
	swapped(2, fleet.Relay, 300, false, 1, nil)
	swapped(7, fleet.Relay, 2000, false, 5, nil)
	swapped(8, fleet.Relay, 90_000, true, 1, errors.New("another state"))
	o.Failed(subscribe.Failure{Record: dataset.VersionRecord{Dataset: "cities", Version: 9}, Err: errors.New("no relay answers")})
	for _, repeated := range []bool{false, true, true} { // of one version
		o.Failed(subscribe.Failure{Record: dataset.VersionRecord{Dataset: "prices", Version: 9}, Err: subscribe.ErrBounds, Bound: "max_bytes", Repeated: repeated})
	}
	const want = `
# HELP freshet_deltas_applied_total Deltas applied by refreshes that succeeded.
# TYPE freshet_deltas_applied_total counter
freshet_deltas_applied_total{dataset="cities"} 9
freshet_deltas_applied_total{dataset="prices"} 0
# HELP freshet_deltas_given_up_total Refreshes whose deltas did not lead to the version, so that its snapshot was pulled.
# TYPE freshet_deltas_given_up_total counter
freshet_deltas_given_up_total{dataset="cities"} 1
freshet_deltas_given_up_total{dataset="prices"} 0
# HELP freshet_pulled_bytes_total Bytes pulled from relays by refreshes that succeeded.
# TYPE freshet_pulled_bytes_total counter
freshet_pulled_bytes_total{dataset="cities",kind="delta"} 2300
freshet_pulled_bytes_total{dataset="cities",kind="full"} 90000
freshet_pulled_bytes_total{dataset="prices",kind="delta"} 0
freshet_pulled_bytes_total{dataset="prices",kind="full"} 0
# HELP freshet_refresh_failures_total Attempts to refresh that failed.
# TYPE freshet_refresh_failures_total counter
freshet_refresh_failures_total{dataset="cities"} 1
freshet_refresh_failures_total{dataset="prices"} 3
# HELP freshet_refreshes_total Versions that became served, by their origin and whether made from a snapshot (full) or from the version before (delta).
# TYPE freshet_refreshes_total counter
freshet_refreshes_total{dataset="cities",from="cache",kind="full"} 1
freshet_refreshes_total{dataset="cities",from="relay",kind="delta"} 2
freshet_refreshes_total{dataset="cities",from="relay",kind="full"} 1
freshet_refreshes_total{dataset="prices",from="relay",kind="delta"} 0
freshet_refreshes_total{dataset="prices",from="relay",kind="full"} 0
# HELP freshet_versions_refused_total Versions that the bounds of the instance refused, by the bound.
# TYPE freshet_versions_refused_total counter
freshet_versions_refused_total{bound="max_bytes",dataset="cities"} 0
freshet_versions_refused_total{bound="max_bytes",dataset="prices"} 1
freshet_versions_refused_total{bound="max_records",dataset="cities"} 0
freshet_versions_refused_total{bound="max_records",dataset="prices"} 0
freshet_versions_refused_total{bound="max_total_bytes",dataset="cities"} 0
freshet_versions_refused_total{bound="max_total_bytes",dataset="prices"} 0
freshet_versions_refused_total{bound="min_memory_left",dataset="cities"} 0
freshet_versions_refused_total{bound="min_memory_left",dataset="prices"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "freshet_deltas_applied_total", "freshet_deltas_given_up_total",
		"freshet_pulled_bytes_total", "freshet_refresh_failures_total", "freshet_refreshes_total", "freshet_versions_refused_total"); err != nil {
		t.Error(err)
	}
}

// The build is one series with the version of the library, and collides with nothing of the subscriber's metrics.
func TestBuild(t *testing.T) {
	reg := prometheus.NewRegistry()
	prom.RegisterBuild(reg)
	prom.Observer(reg, "prices")
	n, err := testutil.GatherAndCount(reg, "freshet_build_info")
	if err != nil || n != 1 {
		t.Errorf("%d series, %v", n, err)
	}
}
