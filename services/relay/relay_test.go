package relay_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/apidoc"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/internal/web/webtest"
	"freshet.dev/services/relay"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(withoutSplice) != "" {
		if err := refuseSplice(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

//go:embed openapi.yaml
var description []byte

func config() relay.Config {
	return relay.Config{
		Listen: "127.0.0.1:0", StoreURL: "dir:///unused", RelayCacheBytes: 16 << 20, RelayCacheTTL: time.Minute,
		RelayResponses: 1000, RelayOriginReads: 8, RelayReadAhead: 1 << 20, RelayOriginTimeout: 10 * time.Second, RelayWriteStall: 10 * time.Second, RelaySendBytes: 256 << 10,
	}
}

func newRelay(t *testing.T, s relay.Store, c relay.Catalog) *relay.Relay {
	t.Helper()
	r, err := relay.New(config(), relay.Deps{Store: s, Catalog: c, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func do(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	req := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Result()
}

func body(t *testing.T, res *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// problem returns the last part of the type of the problem document that res is.
func problem(t *testing.T, res *http.Response) string {
	t.Helper()
	var doc struct{ Type string }
	if b := body(t, res); res.Header.Get("Content-Type") != web.ProblemType || json.Unmarshal(b, &doc) != nil {
		t.Fatalf("%d %s is no problem document: %s", res.StatusCode, res.Header.Get("Content-Type"), b)
	}
	return strings.TrimPrefix(doc.Type, "https://freshet.dev/problems/")
}

const objectBytes = 3*(256<<10) + 1000

func TestObject(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	h := newRelay(t, m, nil).Handler()
	path, etag := "/v1/objects/"+d.String(), `"`+d.String()+`"`
	size := int64(len(want))
	whole := fmt.Sprint(size)
	for _, c := range []struct {
		name     string
		method   string
		header   []string
		status   int
		from, to int64 // of the body
		length   string
		ranged   string // Content-Range
	}{
		{"whole", "GET", nil, 200, 0, size, whole, ""},
		{"head", "HEAD", nil, 200, 0, 0, whole, ""},
		{"head passes a range over", "HEAD", []string{"Range", "bytes=0-1"}, 200, 0, 0, whole, ""},
		{"first bytes", "GET", []string{"Range", "bytes=0-9"}, 206, 0, 10, "10", "bytes 0-9/" + whole},
		{"over a segment's end", "GET", []string{"Range", "bytes=262140-262150"}, 206, 262140, 262151, "11", "bytes 262140-262150/" + whole},
		{"to the end", "GET", []string{"Range", "bytes=700000-"}, 206, 700000, size, fmt.Sprint(size - 700000), fmt.Sprintf("bytes 700000-%d/%d", size-1, size)},
		{"past the end", "GET", []string{"Range", "bytes=787000-99999999999999999999"}, 206, 787000, size, fmt.Sprint(size - 787000), fmt.Sprintf("bytes 787000-%d/%d", size-1, size)},
		{"last bytes", "GET", []string{"Range", "bytes=-5"}, 206, size - 5, size, "5", fmt.Sprintf("bytes %d-%d/%d", size-5, size-1, size)},
		{"more last bytes than there are", "GET", []string{"Range", "bytes=-99999999"}, 206, 0, size, whole, fmt.Sprintf("bytes 0-%d/%d", size-1, size)},
		{"two ranges", "GET", []string{"Range", "bytes=0-1,5-6"}, 200, 0, size, whole, ""},
		{"other unit", "GET", []string{"Range", "lines=0-1"}, 200, 0, size, whole, ""},
		{"no range", "GET", []string{"Range", "bytes=x-1"}, 200, 0, size, whole, ""},
		{"backwards", "GET", []string{"Range", "bytes=5-1"}, 200, 0, size, whole, ""},
		{"If-Range that holds", "GET", []string{"Range", "bytes=0-9", "If-Range", etag}, 206, 0, 10, "10", "bytes 0-9/" + whole},
		{"If-Range that does not", "GET", []string{"Range", "bytes=0-9", "If-Range", `"other"`}, 200, 0, size, whole, ""},
		{"weak If-Range", "GET", []string{"Range", "bytes=0-9", "If-Range", "W/" + etag}, 200, 0, size, whole, ""},
		{"If-None-Match", "GET", []string{"If-None-Match", `"x", ` + etag}, 304, 0, 0, "", ""},
		{"If-None-Match of another", "GET", []string{"If-None-Match", `"x"`}, 200, 0, size, whole, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := do(t, h, c.method, path, c.header...)
			if got := body(t, res); res.StatusCode != c.status || !bytes.Equal(got, want[c.from:c.to]) {
				t.Errorf("status %d with %d bytes, want %d with %d", res.StatusCode, len(got), c.status, c.to-c.from)
			}
			for name, want := range map[string]string{
				"Etag": etag, "Content-Length": c.length, "Content-Range": c.ranged, "Accept-Ranges": "bytes",
				"Cache-Control": "public, max-age=31536000, immutable",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestObjectRefusals(t *testing.T) {
	m := newMemory()
	d, _ := m.add(objectBytes)
	h := newRelay(t, m, nil).Handler()
	for _, c := range []struct {
		path   string
		header []string
		status int
		kind   string
	}{
		{"/v1/objects/xyz", nil, 400, "bad-digest"},
		{"/v1/objects/" + strings.ToUpper(d.String()), nil, 400, "bad-digest"},
		{"/v1/objects/" + dataset.Digest{9}.String(), nil, 404, "unknown-object"},
		{"/v1/objects/" + d.String(), []string{"Range", "bytes=99999999-"}, 416, "bad-range"},
		{"/v1/objects/" + d.String(), []string{"Range", "bytes=-0"}, 416, "bad-range"},
		{"/v1/objects", nil, 404, "no-such-route"},
	} {
		res := do(t, h, "GET", c.path, c.header...)
		if kind := problem(t, res); res.StatusCode != c.status || kind != c.kind {
			t.Errorf("%s: %d %s, want %d %s", c.path, res.StatusCode, kind, c.status, c.kind)
		}
		if c.status == 416 && res.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", objectBytes) {
			t.Errorf("Content-Range is %q", res.Header.Get("Content-Range"))
		}
		if res.Header.Get("Etag") != "" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("a problem may be cached: %v", res.Header)
		}
	}
	m.fail(errors.New("disk on fire"))
	if res := do(t, h, "GET", "/v1/objects/"+dataset.Digest{9}.String()); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || problem(t, res) != "store-unavailable" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	m.fail(nil)
	m.short[0] = true
	if res := do(t, h, "GET", "/v1/objects/"+d.String()); res.StatusCode != 503 || problem(t, res) != "store-unavailable" {
		t.Errorf("a short read of the first segment: %d", res.StatusCode)
	}
	delete(m.short, 0)
	if res := do(t, h, "GET", "/v1/objects/"+d.String()); res.StatusCode != 200 {
		t.Errorf("the failure is remembered: %d", res.StatusCode)
	}
}

// An object that the store returns in part must never look whole.
func TestShortReadInMidObjectClosesTheConnection(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	m.short[512<<10] = true
	srv := httptest.NewServer(newRelay(t, m, nil).Handler())
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + "/v1/objects/" + d.String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, want[:512<<10]) || res.ContentLength != objectBytes {
		t.Errorf("%d of %d bytes, error %v", len(got), res.ContentLength, err)
	}
}

// A storm: the store is read once, also when the first client hangs up at once.
func TestConcurrentRequestsShareOneRead(t *testing.T) {
	m := newMemory()
	gate := make(chan struct{})
	m.gate = gate
	d, want := m.add(objectBytes)
	r := newRelay(t, m, nil)
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	url := srv.URL + "/v1/objects/" + d.String()
	ctx, hangUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
		res, err := srv.Client().Do(req)
		if err == nil {
			res.Body.Close()
		}
		first <- err
	}()
	<-m.opened
	hangUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			res, err := srv.Client().Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if n := m.opens.Load(); n > 4 {
		t.Errorf("the store was read %d times for 4 segments", n)
	}
	metrics := string(body(t, do(t, r.Handler(), "GET", "/metrics")))
	for _, want := range []string{"freshet_relay_segment_fills_total 4", fmt.Sprintf("freshet_relay_origin_bytes_total %d", objectBytes), "freshet_relay_cache_budget_bytes 1.6777216e+07"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
}

func TestValidate(t *testing.T) {
	for variable, change := range map[string]func(*relay.Config){
		"FRESHET_STORE_URL":            func(c *relay.Config) { c.StoreURL = "" },
		"FRESHET_NAMESPACE":            func(c *relay.Config) { c.Namespace = "a.b" },
		"FRESHET_REDIS_URL":            func(c *relay.Config) { c.RedisURL = "http://h" },
		"FRESHET_LISTEN":               func(c *relay.Config) { c.Listen = "8481" },
		"FRESHET_RELAY_CACHE_BYTES":    func(c *relay.Config) { c.RelayCacheBytes = 1 << 20 },
		"FRESHET_RELAY_CACHE_TTL":      func(c *relay.Config) { c.RelayCacheTTL = 0 },
		"FRESHET_RELAY_RESPONSES":      func(c *relay.Config) { c.RelayResponses = 0 },
		"FRESHET_RELAY_READ_AHEAD":     func(c *relay.Config) { c.RelayReadAhead = -1 },
		"FRESHET_RELAY_ORIGIN_READS":   func(c *relay.Config) { c.RelayOriginReads = 0 },
		"FRESHET_RELAY_ORIGIN_TIMEOUT": func(c *relay.Config) { c.RelayOriginTimeout = 0 },
		"FRESHET_RELAY_WRITE_STALL":    func(c *relay.Config) { c.RelayWriteStall = 0 },
		"FRESHET_RELAY_CONNECTIONS":    func(c *relay.Config) { c.RelayConnections = -1 },
		"FRESHET_STOP_GRACE":           func(c *relay.Config) { c.StopGrace = -1 },
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
	apidoc.Check(t, description, newRelay(t, newMemory(), nil).Routes())
}

func TestMetricsAreNamedWell(t *testing.T) {
	r := newRelay(t, newMemory(), nil)
	problems, err := testutil.GatherAndLint(r.Registry())
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err != nil {
		t.Error(err)
	}
}

// A refusal reaches a client that sends half a body, and such a client does not hold up a stop.
func TestRefusalOfARequestWithABody(t *testing.T) {
	requests := make(map[string]int)
	for _, length := range []string{"Content-Length: 1000\r\n", "Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 1000\r\nConnection: close\r\n"} {
		requests["GET /v1/objects/none HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusBadRequest
		requests["GET /v1/datasets/none/latest HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusNotFound
		requests["POST /v1/store HTTP/1.1\r\nHost: x\r\n"+length+"\r\n"] = http.StatusMethodNotAllowed
	}
	webtest.Refused(t, newRelay(t, newMemory(), nil).Handler(), requests)
}
