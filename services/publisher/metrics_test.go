package publisher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/publisher"
)

// Versions are counted with what they change and what their deltas weigh; the chain grows until the snapshot that is due
// has been written, which is counted too.
func TestDeltaMetrics(t *testing.T) {
	p := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.MaxDeltas = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	h := p.Handler()
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, `{"id":"%d","v":"%x"}`+"\n", i, int64(i)*2654435761)
	}
	if rec := send(h, "POST", versions+"?key=id", lines.String()); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	var deltaBytes int64
	patch := func(body string) {
		t.Helper()
		rec := send(h, "PATCH", patchURL+"?key=id", body)
		if rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		deltas := decode[publisher.Publication](t, rec).Record.Deltas
		deltaBytes += deltas[len(deltas)-1].Bytes
	}
	awaitMetrics(t, p, `freshet_publisher_chain_deltas{dataset="prices"} 0`, `freshet_publisher_delta_bytes_total{dataset="prices"} 0`,
		`freshet_publisher_compactions_total{dataset="prices",result="written"} 0`, `freshet_publisher_compactions_total{dataset="prices",result="failed"} 0`)
	patch(`{"id":"1","v":"new"}` + "\n" + `{"id":"2","$remove":true}` + "\n" + `{"id":"x"}`)
	awaitMetrics(t, p, `freshet_publisher_chain_deltas{dataset="prices"} 1`)
	patch(`{"id":"3","$remove":true}`)
	awaitMetrics(t, p, `freshet_publisher_chain_deltas{dataset="prices"} 2`, `freshet_publisher_compactions_total{dataset="prices",result="written"} 1`)
	patch(`{"id":"4","v":"new"}`)
	awaitMetrics(t, p,
		`freshet_publisher_chain_deltas{dataset="prices"} 1`,
		fmt.Sprintf(`freshet_publisher_delta_bytes_total{dataset="prices"} %d`, deltaBytes),
		`freshet_publisher_changed_records_total{change="added",dataset="prices"} 3001`,
		`freshet_publisher_changed_records_total{change="changed",dataset="prices"} 2`,
		`freshet_publisher_changed_records_total{change="removed",dataset="prices"} 2`,
	)
}

// awaitMetrics waits until every line is in the metrics.
func awaitMetrics(t *testing.T, p *publisher.Publisher, lines ...string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		metrics := send(p.Handler(), "GET", "/metrics", "").Body.String()
		var missing string
		for _, line := range lines {
			if !strings.Contains(metrics, line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is not in the metrics:\n%s", missing, metrics)
		}
	}
}
