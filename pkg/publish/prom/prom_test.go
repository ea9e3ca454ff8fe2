package prom_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/prom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Publishes, failures and the work of Run are counted, and the caller's own functions are still called.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := prom.New(reg)
	calls := 0
	cfg := publish.Config{
		OnBeacon: func(publish.BeaconRound) { calls++ }, OnRepair: func(publish.RepairResult) { calls++ },
		OnCompact: func(string, publish.Compaction, time.Duration, error) { calls++ },
	}
	m.Observe(&cfg)
	var none publish.Config
	m.Observe(&none)
	for _, c := range []publish.Config{cfg, none} {
		c.OnBeacon(publish.BeaconRound{Sent: time.Now(), Unread: map[string]error{"a": errors.New("damaged")}})
		c.OnRepair(publish.RepairResult{What: publish.RepairIndex})
		c.OnCompact("prices", publish.Compaction{}, time.Second, nil)
	}
	if calls != 3 {
		t.Errorf("%d calls of the caller's functions, want 3", calls)
	}
	m.Published(publish.Result{Created: true, Record: dataset.VersionRecord{Dataset: "prices", Version: 2, Changes: dataset.Changes{Changed: 3}}}, 100, time.Second)
	m.Failed("refused")
	const want = `
# HELP freshet_publisher_beacon_unread_datasets Datasets that the last beacon did not name, because their newest version could not be read.
# TYPE freshet_publisher_beacon_unread_datasets gauge
freshet_publisher_beacon_unread_datasets 1
# HELP freshet_publisher_beacons_total Rounds of the beacon, by result: sent or failed.
# TYPE freshet_publisher_beacons_total counter
freshet_publisher_beacons_total{result="failed"} 0
freshet_publisher_beacons_total{result="sent"} 2
# HELP freshet_publisher_publishes_total Publishes that succeeded, by whether they created a version.
# TYPE freshet_publisher_publishes_total counter
freshet_publisher_publishes_total{created="true",dataset="prices"} 1
# HELP freshet_publisher_publish_failures_total Publishes that failed, by the problem that was answered.
# TYPE freshet_publisher_publish_failures_total counter
freshet_publisher_publish_failures_total{problem="refused"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "freshet_publisher_beacon_unread_datasets", "freshet_publisher_beacons_total",
		"freshet_publisher_publishes_total", "freshet_publisher_publish_failures_total"); err != nil {
		t.Error(err)
	}
}
