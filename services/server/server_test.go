package server_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet.dev/services/internal/apidoc"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:embed openapi.yaml
var description []byte

func config() server.Config {
	return server.Config{
		Listen: "127.0.0.1:0", Datasets: []string{"cities", "prices"}, NatsURL: "nats://127.0.0.1:4222", Relays: []string{"http://127.0.0.1:8481"},
		StallTimeout: 30 * time.Second, ConfirmAfter: time.Minute, BatchKeys: 5, BatchBytes: 2 << 20,
		Scans: 2, ScanTime: time.Minute, ScanMemory: 1 << 20,
		WaitMax: 10 * time.Second, MaxWaits: 3,
		Feeds: 2, FeedStall: 10 * time.Second, FeedBehind: time.Minute,
	}
}

func newServer(t testing.TB, s server.Source) *server.Server {
	t.Helper()
	return newServerWith(t, config(), s)
}

func newServerWith(t testing.TB, cfg server.Config, s server.Source) *server.Server {
	t.Helper()
	srv, err := server.New(cfg, server.Deps{Source: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func send(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func wantProblem(t *testing.T, rec *httptest.ResponseRecorder, status int, kind string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	if rec.Code != status || doc["type"] != "https://freshet.dev/problems/"+kind || rec.Header().Get("Content-Type") != web.ProblemType {
		t.Errorf("%d %s, want %d %s", rec.Code, rec.Body, status, kind)
	}
	return doc
}

const records = "/v1/datasets/cities/records/"

func TestRecord(t *testing.T) {
	s := newSource("cities", "prices")
	value := `{"name": "Zürich",  "n":1}`
	s.serve(t, "cities", 12, map[string]string{"ch/zrh": value, "empty": "", "raw": "\x00\x01", "big": `{"x":"` + strings.Repeat("y", 5000) + `"}`})
	h := newServer(t, s).Handler()

	rec := send(h, "GET", records+"ch/zrh", "")
	tag := rec.Header().Get("Etag")
	if rec.Code != 200 || rec.Body.String() != value || rec.Header().Get("Freshet-Version") != "12" ||
		rec.Header().Get("Content-Type") != "application/json" || len(tag) != 34 || rec.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if rec := send(h, "GET", records+"empty", ""); rec.Code != 200 || rec.Body.Len() != 0 || rec.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if rec := send(h, "GET", records+"raw", ""); rec.Body.String() != "\x00\x01" || rec.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %v %q", rec.Code, rec.Header(), rec.Body)
	}
	if rec := send(h, "GET", records+"ch/zrh", "", "If-None-Match", `"x", `+tag); rec.Code != 304 || rec.Body.Len() != 0 || rec.Header().Get("Etag") != tag {
		t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}

	// A version that leaves the value alone leaves the tag alone.
	s.serve(t, "cities", 13, map[string]string{"ch/zrh": value})
	if rec := send(h, "GET", records+"ch/zrh", "", "If-None-Match", tag); rec.Code != 304 || rec.Header().Get("Freshet-Version") != "13" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	s.serve(t, "cities", 14, map[string]string{"ch/zrh": `{"name":"Zürich","n":1}`})
	if rec := send(h, "GET", records+"ch/zrh", "", "If-None-Match", tag); rec.Code != 200 || rec.Header().Get("Freshet-Version") != "14" || rec.Header().Get("Etag") == tag {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

// awkward are keys that are not clean paths.
var awkward = []string{
	"plain", "a b", "a/b", "a//b", "//", "/", "/a", "a/", ".", "..", "../a", "a/../b", "a/.", "./a", "a%2Fb", "%", "?x=1", "#", "a+b", "é", "\x01", ";a=b", ":batchGet",
	"AD/02//Sant Julià", strings.Repeat("k/", 512),
}

// Every key is reachable over a real connection, escaped, and as it is where a request line can hold it.
func TestAwkwardKeys(t *testing.T) {
	s := newSource("cities")
	want := make(map[string]string)
	for i, k := range awkward {
		want[k] = fmt.Sprintf(`{"n":%d}`, i)
	}
	s.serve(t, "cities", 1, want)
	srv := httptest.NewServer(newServer(t, s).Handler())
	defer srv.Close()
	raw := func(path string) (int, string) {
		t.Helper()
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", path)
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(all), "\r\n\r\n")
		var status int
		if _, err := fmt.Sscanf(head, "HTTP/1.0 %d", &status); err != nil {
			t.Fatalf("%v in %q", err, head)
		}
		return status, body
	}
	for k, v := range want {
		var everything strings.Builder
		for i := range len(k) {
			fmt.Fprintf(&everything, "%%%02X", k[i])
		}
		forms := []string{everything.String()}
		if !strings.ContainsAny(k, " %?#\x01é") && !strings.Contains(k, "à") {
			forms = append(forms, k)
		}
		for _, form := range forms {
			if status, got := raw(records + form); status != 200 || got != v {
				t.Errorf("key %.60q as %.60s: %d %s", k, form, status, got)
			}
		}
	}
}

func TestHeadAndLengths(t *testing.T) {
	s := newSource("cities")
	big := `{"x":"` + strings.Repeat("y", 5000) + `"}`
	s.serve(t, "cities", 1, map[string]string{"big": big, "small": `{}`})
	srv := httptest.NewServer(newServer(t, s).Handler())
	defer srv.Close()
	for key, want := range map[string]int64{"big": int64(len(big)), "small": 2} {
		for _, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+records+key, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || res.ContentLength != want || method == "HEAD" && len(body) != 0 {
				t.Errorf("%s %s: %d, length %d, %d bytes", method, key, res.StatusCode, res.ContentLength, len(body))
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": `{}`})
	h := newServer(t, s).Handler()
	doc := wantProblem(t, send(h, "GET", records+"b/c", ""), 404, "unknown-key")
	if doc["dataset"] != "cities" || doc["key"] != "b/c" || doc["version"] != 3.0 {
		t.Errorf("%v", doc)
	}
	doc = wantProblem(t, send(h, "GET", "/v1/datasets/other/records/a", ""), 404, "unknown-dataset")
	if !strings.Contains(doc["detail"].(string), "it has cities, prices") {
		t.Errorf("%v", doc)
	}
	rec := send(h, "GET", "/v1/datasets/prices/records/a", "")
	if doc := wantProblem(t, rec, 503, "no-version-yet"); doc["dataset"] != "prices" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%v %v", doc, rec.Header())
	}
	wantProblem(t, send(h, "GET", records, ""), 400, "bad-key")
	wantProblem(t, send(h, "GET", records+strings.Repeat("k", 1025), ""), 400, "bad-key")
	wantProblem(t, send(h, "PUT", records+"a", ""), 405, "method-not-allowed")
}

func TestValidate(t *testing.T) {
	for variable, change := range map[string]func(*server.Config){
		"FRESHET_LISTEN is":              func(c *server.Config) { c.Listen = "8482" },
		"FRESHET_NATS_URL is not set":    func(c *server.Config) { c.NatsURL = "" },
		"FRESHET_NAMESPACE: not a":       func(c *server.Config) { c.Namespace = "a.b" },
		"FRESHET_RELAYS is not set":      func(c *server.Config) { c.Relays = nil },
		"FRESHET_RELAYS is":              func(c *server.Config) { c.Relays = []string{"relay:8481"} },
		"FRESHET_DATASETS is not set":    func(c *server.Config) { c.Datasets = nil },
		"FRESHET_DATASETS: not a":        func(c *server.Config) { c.Datasets = []string{"Cities"} },
		"FRESHET_DATASETS: cities is na": func(c *server.Config) { c.Datasets = []string{"cities", "cities"} },
		"FRESHET_LABELS: unusable":       func(c *server.Config) { c.Labels = []string{"zone=a", "tier"} },
		"FRESHET_LABELS: unusable label": func(c *server.Config) { c.Labels = []string{"Zone=a"} },
		"FRESHET_REDIS_URL is":           func(c *server.Config) { c.RedisURL = "http://h" },
		"FRESHET_READY_MAX_LAG":          func(c *server.Config) { c.ReadyMaxLag = -1 },
		"FRESHET_CONFIRM_AFTER":          func(c *server.Config) { c.ConfirmAfter = 0 },
		"FRESHET_KEEP_ROOTS":             func(c *server.Config) { c.KeepRoots = 101 },
		"FRESHET_STOP_GRACE":             func(c *server.Config) { c.StopGrace = -1 },
		"FRESHET_BEACON_WITHIN":          func(c *server.Config) { c.BeaconWithin = -1 },
		"FRESHET_PIN_FOR":                func(c *server.Config) { c.PinFor = -1 },
		"FRESHET_WORKERS":                func(c *server.Config) { c.Workers = -1 },
		"FRESHET_LANE_QUEUE":             func(c *server.Config) { c.LaneQueue = -1 },
		"FRESHET_LANE_WAIT":              func(c *server.Config) { c.LaneWait = -1 },
		"FRESHET_STALL_TIMEOUT":          func(c *server.Config) { c.StallTimeout = 0 },
		"FRESHET_WAIT_MAX":               func(c *server.Config) { c.WaitMax = time.Minute },
		"FRESHET_MAX_WAITS":              func(c *server.Config) { c.MaxWaits = 0 },
		"FRESHET_BATCH_KEYS":             func(c *server.Config) { c.BatchKeys = 0 },
		"FRESHET_BATCH_BYTES":            func(c *server.Config) { c.BatchBytes = 1 },
		"FRESHET_SCANS":                  func(c *server.Config) { c.Scans = -1 },
		"FRESHET_SCAN_TIME":              func(c *server.Config) { c.ScanTime = 0 },
		"FRESHET_SCAN_MEMORY":            func(c *server.Config) { c.ScanMemory = 1 },
		"FRESHET_FEEDS":                  func(c *server.Config) { c.Feeds = -1 },
		"FRESHET_FEED_STALL":             func(c *server.Config) { c.FeedStall = 0 },
		"FRESHET_FEED_BEHIND":            func(c *server.Config) { c.FeedBehind = 0 },
	} {
		cfg := config()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("error is %v, want %s in it", err, variable)
		}
	}
	cfg := config()
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDescription(t *testing.T) {
	apidoc.Check(t, description, newServer(t, newSource("cities")).Routes())
}
