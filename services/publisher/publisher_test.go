package publisher_test

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/apidoc"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/publisher"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:embed openapi.yaml
var description []byte

func config(t *testing.T) publisher.Config {
	return publisher.Config{
		Listen: "127.0.0.1:0", StoreURL: "dir:///unused", NatsURL: "nats://127.0.0.1:4222", TempDir: t.TempDir(),
		MemoryBytes: 8 << 20, MaxDeltas: 32, MaxDeltaPercent: 50, CompactEvery: time.Hour, BeaconEvery: time.Minute, Publishes: 2, Patches: 2, Reads: 4, BodyBytes: 64 << 20, Source: "test",
		TextBytes: 1 << 30, BodyStall: 10 * time.Second, BodyRate: 1, BodyTime: time.Minute,
	}
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := storeurl.Open(t.Context(), "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newPublisher(t *testing.T, s store.Store, change func(*publisher.Config, *publisher.Deps)) *publisher.Publisher {
	t.Helper()
	cfg, deps := config(t), publisher.Deps{Store: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()}
	if change != nil {
		change(&cfg, &deps)
	}
	p, err := publisher.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func send(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

// decode reads the answer's JSON.
func decode[T any](t *testing.T, rec *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	return v
}

type problem struct {
	Type, Title, Detail, Dataset, File, Key, Hint string
	Status, Line, Record                          int
}

// wantProblem checks that the answer is the problem, and returns it.
func wantProblem(t *testing.T, rec *httptest.ResponseRecorder, status int, kind string) problem {
	t.Helper()
	p := decode[problem](t, rec)
	if rec.Code != status || p.Status != status || p.Type != "https://freshet.dev/problems/"+kind || rec.Header().Get("Content-Type") != web.ProblemType {
		t.Errorf("%d %s, want %d %s", rec.Code, rec.Body, status, kind)
	}
	return p
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func zstded(s string) string {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return string(w.EncodeAll([]byte(s), nil))
}

const (
	ndjson   = `{"id":"a","v":1}` + "\n" + `{"id":"b","v":2}` + "\n"
	versions = "/v1/datasets/prices/versions"
)

func TestPublishEveryFormat(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"ndjson":            {ndjson, []string{"Content-Type", "application/x-ndjson"}},
		"ndjson, charset":   {ndjson, []string{"Content-Type", "application/x-ndjson; charset=UTF-8"}},
		"ndjson, no type":   {ndjson, nil},
		"ndjson, gzip":      {gzipped(ndjson), []string{"Content-Type", "application/x-ndjson", "Content-Encoding", "gzip"}},
		"ndjson, zstd":      {zstded(ndjson), []string{"Content-Encoding", "zstd"}},
		"ndjson, gzip, raw": {gzipped(ndjson), []string{"Content-Type", "application/gzip"}},
		"json":              {`[{"id":"a","v":1}, {"id":"b","v":2}]`, []string{"Content-Type", "application/json"}},
		"csv":               {"id,v\na,1\nb,2\n", []string{"Content-Type", "text/csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newPublisher(t, openStore(t), nil).Handler()
			rec := send(h, "POST", versions+"?key=id&label=release=7&label=note=a=b", c.body, append(c.header, "Freshet-Source", "nightly", "Freshet-Label", "x=y")...)
			if rec.Code != http.StatusCreated || rec.Header().Get("Location") != versions+"/1" {
				t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
			}
			got := decode[publisher.Publication](t, rec)
			r := got.Record
			if !got.Created || r.Version != 1 || r.State.Records != 2 || r.Source != "nightly" || fmt.Sprint(r.Labels) != "map[note:a=b release:7 x:y]" {
				t.Errorf("%+v", got)
			}
			if rec := send(h, "GET", rec.Header().Get("Location"), ""); decode[dataset.VersionRecord](t, rec).ID() != "prices/1" {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
}

func TestEqualContentCreatesNoVersion(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	if rec := send(h, "POST", versions+"?key=id&source=pipeline", ndjson); rec.Code != 201 || decode[publisher.Publication](t, rec).Record.Source != "pipeline" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	rec := send(h, "POST", versions+"?key=id", "\n"+ndjson)
	got := decode[publisher.Publication](t, rec)
	if rec.Code != http.StatusOK || got.Created || got.Record.Version != 1 || rec.Header().Get("Location") != "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", versions+"?key=id", `{"id":"a","v":1}`)
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || got.Record.Version != 2 || got.Record.Changes != (dataset.Changes{Removed: 1}) || got.Record.Source != "test" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A promise is kept with the version, and equal content renews it when it is another.
func TestPromise(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	for i, c := range []struct {
		method, path string
		code         int
		version      uint64
		want         time.Duration
	}{
		{"POST", versions + "?key=id&expect-every=24h", 201, 1, 24 * time.Hour},
		{"POST", versions + "?key=id", 200, 1, 24 * time.Hour},
		{"POST", versions + "?key=id&expect-every=90m", 201, 2, 90 * time.Minute},
		{"PATCH", patchURL + "?key=id&expect-every=90m", 200, 2, 90 * time.Minute},
		{"PATCH", patchURL + "?key=id&expect-every=0", 201, 3, 0},
	} {
		rec := send(h, c.method, c.path, ndjson)
		got := decode[publisher.Publication](t, rec)
		if rec.Code != c.code || got.Record.Version != c.version || got.Record.ExpectEvery != c.want {
			t.Errorf("step %d: %d %s", i+1, rec.Code, rec.Body)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.BodyBytes = 1000 }).Handler()
	for name, c := range map[string]struct {
		path, body string
		header     []string
		status     int
		kind, want string
		line       int
		key        string
	}{
		"broken line":      {versions + "?key=id", ndjson + "{\"id\":\n", nil, 400, "bad-input", "line 3", 3, ""},
		"duplicate key":    {versions + "?key=id", ndjson + `{"id":"a"}`, nil, 400, "bad-input", "stands on line 1 already", 3, "a"},
		"missing key":      {versions + "?key=id", `{"di":"a"}`, nil, 400, "bad-input", "line 1", 1, ""},
		"empty":            {versions + "?key=id", "", nil, 400, "bad-input", "", 0, ""},
		"cut gzip":         {versions + "?key=id", gzipped(ndjson)[:20], nil, 400, "bad-input", "", 0, ""},
		"no key named":     {versions, ndjson, nil, 400, "bad-input", `no member "key", which was named`, 1, ""},
		"bad name":         {"/v1/datasets/Prices/versions?key=id", ndjson, nil, 400, "bad-input", "not a dataset name", 0, ""},
		"unknown param":    {versions + "?keys=id", ndjson, nil, 400, "bad-parameter", `no parameter "keys"`, 0, ""},
		"param twice":      {versions + "?reason=a&reason=b", ndjson, nil, 400, "bad-parameter", "reason comes twice", 0, ""},
		"member twice":     {versions + "?key=id&key=id", ndjson, nil, 400, "bad-input", `the member "id" twice`, 0, ""},
		"no name of a key": {versions + "?key=", ndjson, nil, 400, "bad-input", "a member of the key has no name", 0, ""},
		"bad query":        {versions + "?key=id;source=x", ndjson, nil, 400, "bad-parameter", `the parameter "key" contains a semicolon`, 0, ""},
		"source twice":     {versions + "?key=id", ndjson, []string{"Freshet-Source", "a", "Freshet-Source", "b"}, 400, "bad-header", "Freshet-Source comes twice", 0, ""},
		"type twice":       {versions + "?key=id", ndjson, []string{"Content-Type", "text/csv", "Content-Type", "text/csv"}, 400, "bad-header", "Content-Type comes twice", 0, ""},
		"encoding twice":   {versions + "?key=id", ndjson, []string{"Content-Encoding", "gzip", "Content-Encoding", "gzip"}, 400, "bad-header", "Content-Encoding comes twice", 0, ""},
		"bad label":        {versions + "?key=id&label=x", ndjson, nil, 400, "bad-parameter", "not name=value", 0, ""},
		"label twice":      {versions + "?key=id&label=x=1&label=x=2", ndjson, nil, 400, "bad-parameter", "comes twice", 0, ""},
		"long label":       {versions + "?key=id&label=x=" + strings.Repeat("y", 300), ndjson, nil, 400, "bad-input", "the label", 0, ""},
		"no duration":      {versions + "?key=id&expect-every=daily", ndjson, nil, 400, "bad-parameter", `expect-every is "daily"; want a duration such as 24h`, 0, ""},
		"empty duration":   {versions + "?key=id&expect-every=", ndjson, nil, 400, "bad-parameter", `expect-every is ""`, 0, ""},
		"short duration":   {versions + "?key=id&expect-every=5ms", ndjson, nil, 400, "bad-input", "every 5ms cannot be promised; promise 1s to", 0, ""},
		"form":             {versions + "?key=id", ndjson, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported-type", "set Content-Type to", 0, ""},
		"latin1":           {versions + "?key=id", ndjson, []string{"Content-Type", "text/csv; charset=iso-8859-1"}, 415, "unsupported-type", "charset", 0, ""},
		"garbage type":     {versions + "?key=id", ndjson, []string{"Content-Type", ";;"}, 415, "unsupported-type", "", 0, ""},
		"brotli":           {versions + "?key=id", ndjson, []string{"Content-Encoding", "br"}, 415, "unsupported-encoding", "gzip, zstd", 0, ""},
		"too large, known": {versions + "?key=id", strings.Repeat(ndjson, 100), nil, 413, "too-large", "over 1000 bytes", 0, ""},
		"array for ndjson": {versions + "?key=id", `[{"id":"a"}]`, []string{"Content-Type", "application/x-ndjson"}, 400, "bad-input", "line 1", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rec := send(h, "POST", c.path, c.body, c.header...)
			p := wantProblem(t, rec, c.status, c.kind)
			if !strings.Contains(p.Detail, c.want) || p.Line != c.line || p.Key != c.key {
				t.Errorf("%s", rec.Body)
			}
			if c.kind == "bad-input" && p.Dataset == "" {
				t.Errorf("the problem names no dataset: %s", rec.Body)
			}
		})
	}
	if names, err := s.Datasets(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("something was published: %v, %v", names, err)
	}
}

// A body of unknown length is cut at the limit, too.
func TestTooLargeWhileStreaming(t *testing.T) {
	h := newPublisher(t, openStore(t), func(c *publisher.Config, _ *publisher.Deps) { c.BodyBytes = 1 << 20 }).Handler()
	req := httptest.NewRequest("POST", versions+"?key=id", io.MultiReader(strings.NewReader(ndjson), endless{}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	wantProblem(t, rec, 413, "too-large")
}

// endless yields empty lines.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func TestVersionsAndDatasets(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	for v := 1; v <= 5; v++ {
		if rec := send(h, "POST", versions+"?key=id", fmt.Sprintf(`{"id":"a","v":%d}`, v)); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if rec := send(h, "POST", "/v1/datasets/cities/versions?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	numbers := func(query string) (numbers []uint64, next uint64) {
		t.Helper()
		rec := send(h, "GET", versions+query, "")
		list := decode[publisher.VersionList](t, rec)
		for _, r := range list.Versions {
			numbers = append(numbers, r.Version)
		}
		if list.Dataset != "prices" || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s", rec.Body)
		}
		return numbers, list.NextBefore
	}
	for query, want := range map[string]string{
		"": "[5 4 3 2 1] 0", "?limit=2": "[5 4] 4", "?limit=2&before=4": "[3 2] 2", "?limit=2&before=2": "[1] 0", "?limit=5": "[5 4 3 2 1] 0",
		"?before=1": "[] 0", "?before=100": "[5 4 3 2 1] 0",
	} {
		if n, next := numbers(query); fmt.Sprint(n, next) != want {
			t.Errorf("%s: got %v %d, want %s", query, n, next, want)
		}
	}
	for path, want := range map[string]string{
		versions + "?limit=0": "400 bad-parameter", versions + "?limit=1001": "400 bad-parameter", versions + "?before=x": "400 bad-parameter",
		versions + "?limit=5;before=3": "400 bad-parameter", versions + "?limit=5&limit=5": "400 bad-parameter", versions + "?limits=5": "400 bad-parameter",
		"/readyz?verbose&verbose": "400 bad-parameter", "/readyz?verbos": "400 bad-parameter",
		versions + "/0": "400 bad-version", versions + "/x": "400 bad-version", versions + "/6": "404 unknown-version",
		"/v1/datasets/none/versions": "404 unknown-dataset", "/v1/datasets/None/versions": "400 bad-dataset-name",
	} {
		rec := send(h, "GET", path, "")
		if p := decode[problem](t, rec); fmt.Sprintf("%d %s", rec.Code, strings.TrimPrefix(p.Type, "https://freshet.dev/problems/")) != want {
			t.Errorf("%s: %d %s, want %s", path, rec.Code, rec.Body, want)
		}
	}
	rec := send(h, "GET", "/v1/datasets", "")
	list := decode[struct{ Datasets []publisher.Dataset }](t, rec).Datasets
	if len(list) != 2 || list[0].Dataset != "cities" || list[1].Latest.ID() != "prices/5" {
		t.Errorf("%s", rec.Body)
	}
}

func TestValidate(t *testing.T) {
	for variable, change := range map[string]func(*publisher.Config){
		"FRESHET_STORE_URL":      func(c *publisher.Config) { c.StoreURL = "/data" },
		"FRESHET_NAMESPACE":      func(c *publisher.Config) { c.Namespace = "a.b" },
		"FRESHET_NATS_URL":       func(c *publisher.Config) { c.NatsURL = "" },
		"FRESHET_REDIS_URL":      func(c *publisher.Config) { c.RedisURL = "http://h" },
		"FRESHET_LISTEN":         func(c *publisher.Config) { c.Listen = "8480" },
		"FRESHET_STOP_GRACE":     func(c *publisher.Config) { c.StopGrace = -1 },
		"FRESHET_NATS_REPLICAS":  func(c *publisher.Config) { c.NatsReplicas = -1 },
		"FRESHET_NATS_MAX_BYTES": func(c *publisher.Config) { c.NatsMaxBytes = -1 },
		"FRESHET_MEMORY_BYTES":   func(c *publisher.Config) { c.MemoryBytes = 1 },
		"FRESHET_WORKERS":        func(c *publisher.Config) { c.Workers = -1 },
		"FRESHET_PUBLISHES":      func(c *publisher.Config) { c.Publishes = 0 },
		"FRESHET_PATCHES":        func(c *publisher.Config) { c.Patches = 0 },
		"FRESHET_READS":          func(c *publisher.Config) { c.Reads = -1 },
		"FRESHET_BODY_BYTES":     func(c *publisher.Config) { c.BodyBytes = 0 },
		"FRESHET_BODY_STALL":     func(c *publisher.Config) { c.BodyStall = 0 },
		"FRESHET_BODY_RATE":      func(c *publisher.Config) { c.BodyRate = 0 },
		"FRESHET_BODY_TIME":      func(c *publisher.Config) { c.BodyTime = 0 },
		"FRESHET_TEXT_BYTES":     func(c *publisher.Config) { c.TextBytes = 0 },
		"FRESHET_BEACON_EVERY":   func(c *publisher.Config) { c.BeaconEvery = time.Millisecond },
		"FRESHET_SOURCE":         func(c *publisher.Config) { c.Source = strings.Repeat("x", 257) },
	} {
		cfg := config(t)
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("error is %v, want %s in it", err, variable)
		}
	}
	cfg := config(t)
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// What Validate takes New takes as well, so that a wrong setting is never found later and without its name.
func TestMemoryBytes(t *testing.T) {
	for bytes, valid := range map[settings.Bytes]bool{4<<20 - 1: false, 4 << 20: true, 2 << 30: true, 2<<30 + 1: false} {
		cfg := config(t)
		cfg.MemoryBytes = bytes
		err := cfg.Validate()
		if (err == nil) != valid || !valid && (!errors.Is(err, settings.ErrSettings) || !strings.Contains(err.Error(), "FRESHET_MEMORY_BYTES")) {
			t.Errorf("%d bytes: error is %v", bytes, err)
		}
		_, err = publisher.New(cfg, publisher.Deps{Store: openStore(t), Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
		if (err == nil) != valid {
			t.Errorf("%d bytes: New says %v", bytes, err)
		}
	}
}

func TestDescription(t *testing.T) {
	apidoc.Check(t, description, newPublisher(t, openStore(t), nil).Routes())
}

func TestMetrics(t *testing.T) {
	p := newPublisher(t, openStore(t), nil)
	if rec := send(p.Handler(), "POST", versions+"?key=id", ndjson); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	metrics := send(p.Handler(), "GET", "/metrics", "").Body.String()
	for _, want := range []string{
		`freshet_publisher_publishes_total{created="true",dataset="prices"} 1`, `freshet_publisher_version{dataset="prices"} 1`,
		`freshet_publisher_records{dataset="prices"} 2`, `freshet_publisher_body_bytes_total{dataset="prices"} 34`, `freshet_publisher_publish_seconds_count 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	problems, err := testutil.GatherAndLint(p.Registry())
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}
