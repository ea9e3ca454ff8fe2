package prom_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/subscribe"
	"freshet.dev/pkg/subscribe/prom"
)

type pools []subscribe.Pool

func (p pools) Pools() []subscribe.Pool { return p }

// The lanes and pools are series from the start; what a lane sheds is counted by reason.
func TestLaneMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lanes := lane.Lanes{
			CPU: lane.New(lane.Config{Name: "cpu", Width: 1, Wait: time.Second}),
			IO:  lane.New(lane.Config{Name: "io", Width: 8, Reserved: 4, Queue: 2, Wait: time.Second}),
		}
		reg := prometheus.NewRegistry()
		prom.RegisterLanes(reg, lanes)
		prom.RegisterPools(reg, pools{{Name: "relays", Max: 7, Open: 2, Timeouts: 1}})
		if err := lanes.CPU.Do(t.Context(), func(context.Context) error {
			time.Sleep(20 * time.Millisecond)
			if lanes.CPU.Do(context.Background(), func(context.Context) error { return nil }) == nil {
				t.Error("the lane has no queue, and admits a second function")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		const want = `
# HELP freshet_lane_shed_total Requests that the lane did not run: too many waited (queue), they waited too long (wait), or they ended while they waited (canceled).
# TYPE freshet_lane_shed_total counter
freshet_lane_shed_total{lane="cpu",reason="canceled"} 0
freshet_lane_shed_total{lane="cpu",reason="queue"} 1
freshet_lane_shed_total{lane="cpu",reason="wait"} 0
freshet_lane_shed_total{lane="io",reason="canceled"} 0
freshet_lane_shed_total{lane="io",reason="queue"} 0
freshet_lane_shed_total{lane="io",reason="wait"} 0
# HELP freshet_lane_width Functions that may run in the lane at a time.
# TYPE freshet_lane_width gauge
freshet_lane_width{lane="cpu"} 1
freshet_lane_width{lane="io"} 8
# HELP freshet_pool_max_connections Connections that the pool may have: to each relay, or to Redis.
# TYPE freshet_pool_max_connections gauge
freshet_pool_max_connections{pool="relays"} 7
# HELP freshet_pool_timeouts_total Requests that got no connection: from the pool in time, or because a relay did not accept it.
# TYPE freshet_pool_timeouts_total counter
freshet_pool_timeouts_total{pool="relays"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "freshet_lane_shed_total", "freshet_lane_width",
			"freshet_pool_max_connections", "freshet_pool_timeouts_total"); err != nil {
			t.Error(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "freshet_lane_run_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == "cpu" && m.GetLabel()[1].GetValue() == "request" &&
					(m.GetHistogram().GetSampleCount() != 1 || m.GetHistogram().GetSampleSum() != 0.02) {
					t.Errorf("the run has the histogram %v", m)
				}
			}
		}
	})
}
