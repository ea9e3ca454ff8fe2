package relay_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay"
)

// behind runs a relay that reads from relays with these URLs.
func behind(t *testing.T, urls ...string) *running {
	t.Helper()
	cfg := config()
	cfg.StoreURL = settings.URL(strings.ReplaceAll(strings.Join(urls, ", "), "http://", "http://user:hunter2@"))
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deps.Close(); err != nil {
			t.Error(err)
		}
	})
	return run(t, cfg, deps)
}

// Invariant: relays with the same upstreams choose the same one for an object, so that one relay reads it from the store, once.
func TestUpstreamsHoldEachObjectOnce(t *testing.T) {
	m := newMemory()
	var all []dataset.Digest
	var total int64
	for i := range 24 {
		d, content := m.add(300_000 + i)
		all, total = append(all, d), total+int64(len(content))
	}
	near := []*running{run(t, config(), relay.Deps{Store: m}), run(t, config(), relay.Deps{Store: m}), run(t, config(), relay.Deps{Store: m})}
	far := []*running{behind(t, near[0].url, near[1].url, near[2].url), behind(t, near[2].url, near[1].url, near[0].url)}
	var wg sync.WaitGroup
	for _, x := range far {
		wg.Go(func() {
			for _, d := range all {
				if n, err := x.compare("/v1/objects/"+d.String(), m.objects[d]); err != nil || n != len(m.objects[d]) {
					t.Errorf("%d bytes, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, x := range near {
		n := x.metric(t, "origin_bytes_total")
		if sum += n; n == 0 {
			t.Error("one of three relays got none of 24 objects")
		}
	}
	if sum != total {
		t.Errorf("the store was read for %d bytes, and has %d", sum, total)
	}
}

// mortal is a relay that breaks all connections once it is dead.
type mortal struct {
	*httptest.Server
	dead atomic.Bool
}

// newMortal serves h until killAfter bytes, which several may share, have been sent; then it is dead.
func newMortal(t *testing.T, h http.Handler, killAfter *atomic.Int64) *mortal {
	t.Helper()
	x := &mortal{}
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x.dead.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodGet {
			w = &doomed{w, x, killAfter}
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(x.Close)
	return x
}

// doomed is a response that fails once its relay is dead.
type doomed struct {
	http.ResponseWriter
	of   *mortal
	left *atomic.Int64
}

func (d *doomed) Write(p []byte) (int, error) {
	if left := d.left.Add(-int64(len(p))); left < 0 && left+int64(len(p)) >= 0 {
		n, _ := d.ResponseWriter.Write(p[:left+int64(len(p))])
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		d.of.dead.Store(true)
		return n, http.ErrAbortHandler
	}
	if d.of.dead.Load() {
		return 0, http.ErrAbortHandler
	}
	return d.ResponseWriter.Write(p)
}

// Invariant: no client notices the death of a relay upstream within an object. Without any upstream the relay still serves what
// is in memory, and the rest with a later retry.
func TestAnUpstreamDiesMidRead(t *testing.T) {
	m := newMemory()
	d, want := m.add(8<<20 + 5)
	other, _ := m.add(100)
	var killAfter atomic.Int64
	killAfter.Store(3<<20 + 1234)
	near := []*mortal{newMortal(t, newRelay(t, m, nil).Handler(), &killAfter), newMortal(t, newRelay(t, m, nil).Handler(), &killAfter)}
	far := behind(t, near[0].URL, near[1].URL)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if n, err := far.compare("/v1/objects/"+d.String(), want); err != nil || n != len(want) {
				t.Errorf("%d of %d bytes, %v", n, len(want), err)
			}
		})
	}
	wg.Wait()
	if near[0].dead.Load() == near[1].dead.Load() {
		t.Fatal("not one of two relays died")
	}
	for i, x := range near {
		name := `{upstream="` + strings.Replace(near[i].URL, "http://", "http://xxxxx@", 1) + `"} `
		_, text, err := far.get("/metrics")
		if err != nil || bytes.Contains(text, []byte("hunter2")) {
			t.Fatalf("%v, or a password is in the metrics", err)
		}
		if healthy := bytes.Contains(text, []byte("freshet_relay_upstream_failures_total"+name+"0\n")); healthy == x.dead.Load() ||
			!bytes.Contains(text, []byte("freshet_relay_upstream_busy_total"+name+"0\n")) {
			t.Errorf("relay %d died: %v; the metrics say:\n%s", i, x.dead.Load(), text)
		}
		x.dead.Store(true)
	}
	if status, _, err := far.get("/v1/objects/" + other.String()); err != nil || status != 503 {
		t.Errorf("with all dead: %d, %v", status, err)
	}
	if n, err := far.compare("/v1/objects/"+d.String(), want); err != nil || n != len(want) {
		t.Errorf("from memory: %d bytes, %v", n, err)
	}
	near[0].dead.Store(false)
	if status, got, err := far.get("/v1/objects/" + other.String()); err != nil || status != 200 || !bytes.Equal(got, m.objects[other]) {
		t.Errorf("with one back: %d, %v", status, err)
	}
}

// A list may hold relays only, and errors hide passwords.
func TestStoreURL(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"dir:///data", ""},
		{"dir:///a,b", ""},
		{"s3://bucket/prefix", ""},
		{"http://a:8481", ""},
		{" http://a:8481 , https://user:hunter2@b/relay,", ""},
		{"HTTP://a", ""},
		{"", "is not set"},
		{"ftp://a", "want a URL beginning with dir://"},
		{"http://a,dir:///data", "a list may hold relays only; want one store"},
		{"dir:///data,http://user:hunter2@a", "a list may hold relays only; want one store"},
		{"dir:///a,dir:///b", "a list may hold relays only; want one store"},
		{"http://a,s3://b/c?secret=hunter2", "a list may hold relays only; want one store"},
		{"http://a:8481,b:8481", "want a URL beginning with http:// or https://"},
		{"http://a,http://user:hunter2@", "no host follows http://"},
	} {
		cfg := config()
		cfg.StoreURL = settings.URL(c.url)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "FRESHET_STORE_URL") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: error is %v, want %q", c.url, err, c.want)
		}
	}
	cfg := config()
	cfg.StoreURL = "http://a:1,http://user:hunter2@A:1"
	if _, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "FRESHET_STORE_URL") ||
		!strings.Contains(err.Error(), "is listed twice") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the same relay twice: %v", err)
	}
}
