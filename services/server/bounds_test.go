package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/server"
)

// A server with bounds is not ready while the first version is outside of them, and says why in /readyz, in the status and in the metrics.
// It serves the next version that fits, and keeps it.
func TestBoundsOfAServer(t *testing.T) {
	nats, s, publisher := newPipeline(t)
	give := func(keys ...string) {
		t.Helper()
		var text strings.Builder
		for _, key := range keys {
			text.WriteString(`{"sku":"` + key + `"}` + "\n")
		}
		if _, err := publisher.Publish(t.Context(), "prices", publish.Input{Body: strings.NewReader(text.String()), Key: "sku"}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := server.Config{
		Listen: "127.0.0.1:0", Datasets: settings.List{"prices"}, NatsURL: settings.URL(nats.URL), Relays: settings.List{relayOf(t, s).URL},
		StopGrace: time.Second, ConfirmAfter: time.Millisecond, StallTimeout: 30 * time.Second, BatchKeys: 10, BatchBytes: dataset.MaxValueBytes,
		MaxRecords: 2, FeedStall: time.Second, FeedBehind: time.Second, MaxWaits: 1, ScanTime: time.Minute, ScanMemory: 1 << 20,
	}
	i := run(t, cfg)
	defer func() { i.stop() }()
	give("a", "b", "c")
	const why = "max_records: version prices/1 has 3 records, the most is 2 (FRESHET_MAX_RECORDS)"
	i.until("/readyz", http.StatusServiceUnavailable, why)
	i.until("/v1/status", http.StatusOK, why)
	i.until("/metrics", http.StatusOK, `freshet_versions_refused_total{bound="max_records",dataset="prices"} 1`)
	give("a", "b")
	i.until("/v1/datasets/prices/records/b", http.StatusOK, `"b"`)
	give("a", "b", "d")
	i.until("/v1/status", http.StatusOK, "version prices/3 has 3 records")
	i.until("/v1/datasets/prices/records/b", http.StatusOK, `"b"`)
	i.until("/readyz", http.StatusOK, "")
}

func TestBoundsAreChecked(t *testing.T) {
	cfg := server.Config{MaxRecords: -1, MaxBytes: -2, MaxTotalBytes: -3, MinMemoryLeft: -4}
	err := cfg.Validate()
	for _, name := range []string{"FRESHET_MAX_RECORDS", "FRESHET_MAX_BYTES", "FRESHET_MAX_TOTAL_BYTES", "FRESHET_MIN_MEMORY_LEFT"} {
		if !errors.Is(err, settings.ErrSettings) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}
