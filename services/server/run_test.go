package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/server"
)

// instance is a running server.
type instance struct {
	t    *testing.T
	base string
	http *http.Client
	stop func()
}

func run(t *testing.T, cfg server.Config) *instance {
	t.Helper()
	i, _ := runServer(t, cfg)
	return i
}

func runServer(t *testing.T, cfg server.Config) (*instance, *server.Server) {
	t.Helper()
	deps, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	i := &instance{t: t, base: "http://" + s.Addr(), http: &http.Client{}}
	i.stop = func() {
		i.http.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a stop is an error: %v", err)
		}
		if err := deps.Close(); err != nil {
			t.Error(err)
		}
	}
	return i, s
}

func (i *instance) get(path string) (status int, version, body string) {
	i.t.Helper()
	res, err := i.http.Get(i.base + path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Freshet-Version"), string(b)
}

// until requests the path until the answer has the status and contains the text.
func (i *instance) until(path string, status int, want string) {
	i.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-poll.C {
		s, _, body := i.get(path)
		if s == status && strings.Contains(body, want) {
			return
		}
		if time.Now().After(deadline) {
			i.t.Fatalf("%s: %d %s, want %d with %q", path, s, body, status, want)
		}
	}
}

// relayOf serves a store's objects as a relay does. Services do not import each other, so the test has its own.
func relayOf(t *testing.T, s store.Store) *httptest.Server {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r io.ReadCloser, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer r.Close()
		_, _ = io.Copy(w, r)
	}
	mux.HandleFunc("GET /v1/objects/{digest}", func(w http.ResponseWriter, r *http.Request) {
		body, err := open(r.Context(), s, r.PathValue("digest"))
		answer(w, body, err)
	})
	mux.HandleFunc("GET /v1/datasets/{name}/latest", func(w http.ResponseWriter, r *http.Request) {
		rec, err := s.Latest(r.Context(), r.PathValue("name"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		b, err := rec.Encode()
		answer(w, io.NopCloser(strings.NewReader(string(b))), err)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

// With a real NATS server and a real subscriber, two versions arrive. After a restart with all servers down, the second is served
// from the cache folder.
func TestRunWithRealNATS(t *testing.T) {
	nats, s, publisher := newPipeline(t)
	publishVersion := func(v int) {
		t.Helper()
		body := fmt.Sprintf(`{"id":"a//b","v":%d}`, v)
		if _, err := publisher.Publish(t.Context(), "cities", publish.Input{Body: strings.NewReader(body), Key: "id"}); err != nil {
			t.Fatal(err)
		}
	}
	relay := relayOf(t, s)

	cfg := config()
	cfg.Datasets, cfg.NatsURL, cfg.Relays, cfg.CacheDir = []string{"cities"}, settings.URL(nats.URL), []string{relay.URL}, t.TempDir()
	i := run(t, cfg)
	if status, _, body := i.get("/readyz"); status != 503 || !strings.Contains(body, "no version is served yet of: cities") {
		t.Errorf("before the first version: %d %s", status, body)
	}
	if status, _, body := i.get(records + "a"); status != 503 || !strings.Contains(body, "no-version-yet") {
		t.Errorf("before the first version: %d %s", status, body)
	}
	publishVersion(1)
	i.until("/readyz", 200, "ready")
	if status, version, body := i.get(records + "a%2F%2Fb"); status != 200 || version != "1" || body != `{"id":"a//b","v":1}` {
		t.Errorf("%d, version %s: %s", status, version, body)
	}
	publishVersion(2)
	i.until(records+"a//b", 200, `"v":2`)
	i.until("/metrics", 200, `freshet_refreshes_total{dataset="cities",from="relay",kind="full"} 2`)
	i.until("/metrics", 200, `freshet_refresh_seconds_count{dataset="cities",kind="full"} 2`)
	if _, _, metrics := i.get("/metrics"); !strings.Contains(metrics, `freshet_last_swap_timestamp_seconds{dataset="cities"} 1`) ||
		!strings.Contains(metrics, `freshet_pulled_bytes_total{dataset="cities",kind="full"} `) {
		t.Error("the time of the swap or the bytes pulled are not in the metrics")
	}
	i.stop()

	nats.Kill()
	relay.Close()
	i = run(t, cfg)
	defer i.stop()
	i.until(records+"a//b", 200, `"v":2`)
	if status, _, body := i.get("/v1/status"); status != 200 || !strings.Contains(body, `"from":"cache"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestOpenNamesTheField(t *testing.T) {
	cfg := config()
	cfg.Relays = []string{"ftp://h"}
	if _, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "elays") {
		t.Errorf("error is %v", err)
	}
}

func open(ctx context.Context, s store.Store, digest string) (io.ReadCloser, error) {
	d, err := dataset.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return s.OpenObject(ctx, d, 0, -1)
}
