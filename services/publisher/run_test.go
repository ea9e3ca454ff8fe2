package publisher_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/catalog"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/servertest"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/publisher"
)

// The publisher as its command runs it, with real servers: they learn of a version, and of one that was committed
// while they were down.
func TestRunWithRealServers(t *testing.T) {
	for namespace, beacon := range map[string]string{"": "freshet.v1.beacon", "a": "freshet.v1.ns.a.beacon"} {
		t.Run("namespace "+namespace, func(t *testing.T) { runWithRealServers(t, namespace, beacon) })
	}
}

func runWithRealServers(t *testing.T, namespace, beaconSubject string) {
	redis, broker := servertest.Redis(t), servertest.NATS(t)
	cfg := config(t)
	cfg.StoreURL = settings.URL("dir://" + t.TempDir())
	cfg.Namespace = namespace
	cfg.BeaconEvery = 100 * time.Millisecond
	cfg.NatsURL, cfg.RedisURL = settings.URL(broker.URL), settings.URL(redis.URL)
	deps, err := publisher.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p, err := publisher.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	<-p.Ready()
	client := &http.Client{}
	post := func(body string) publisher.Publication {
		t.Helper()
		res, err := client.Post("http://"+p.Addr()+versions+"?key=id", "application/x-ndjson", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode/100 != 2 {
			t.Fatalf("%d %s, %v", res.StatusCode, b, err)
		}
		var got publisher.Publication
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}

	if got := post(ndjson); !got.Created || !got.Announced || !got.Indexed || len(got.Warnings) != 0 {
		t.Errorf("%+v", got)
	}
	broker.Kill()
	redis.Kill()
	if got := post(`{"id":"a"}`); !got.Created || got.Announced || got.Indexed || len(got.Warnings) != 2 {
		t.Errorf("with both down: %+v", got)
	}
	broker.Restart()
	redis.Restart()
	// The publisher completes it automatically.
	awaitMetrics(t, p, `freshet_publisher_repairs_total{result="repaired",what="announce"} 1`, `freshet_publisher_repairs_total{result="repaired",what="index"} 1`)
	if got := post(`{"id":"a"}`); got.Created || !got.Announced || !got.Indexed || got.Record.Version != 2 {
		t.Errorf("with both back: %+v", got)
	}

	nc, err := events.Connect(broker.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	log, err := events.NewLog(nc, events.Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	if latest, err := log.Latest(t.Context(), []string{"prices"}); err != nil || latest["prices"].Version != 2 {
		t.Errorf("the event log has %+v, %v", latest, err)
	}
	rdb, err := catalog.Connect(redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	if rec, err := catalog.New(rdb, namespace).Latest(t.Context(), "prices"); err != nil || rec.Version != 2 {
		t.Errorf("the catalog has %+v, %v", rec, err)
	}

	heard := make(chan *nats.Msg, 1)
	sub, err := nc.ChanSubscribe(beaconSubject, heard)
	if err != nil {
		t.Fatal(err)
	}
	var beacon events.Beacon
	if err := json.Unmarshal((<-heard).Data, &beacon); err != nil || beacon.Every != cfg.BeaconEvery || beacon.Newest["prices"] != 2 || beacon.Publisher == "" {
		t.Errorf("the beacon is %+v, %v", beacon, err)
	}
	awaitMetrics(t, p, `freshet_publisher_beacon_unread_datasets 0`)
	if err := sub.Unsubscribe(); err != nil {
		t.Error(err)
	}

	client.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("a stop is an error: %v", err)
	}
	if err := deps.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesABadStore(t *testing.T) {
	cfg := config(t)
	cfg.StoreURL = "s3://bucket?endpoint=ftp://x&secret=hunter2"
	if _, err := publisher.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "FRESHET_STORE_URL") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}
