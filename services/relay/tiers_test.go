package relay_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay"
)

// Two tiers over a real S3 server: the bucket is read once, the near relay is read once, and every client gets every
// byte and the newest version.
func TestTiersOverS3(t *testing.T) {
	s3 := servertest.S3(t)
	cfg := config()
	cfg.StoreURL = settings.URL(s3.URL("tiers"))
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer deps.Close()
	s, err := storeurl.Open(t.Context(), s3.URL("tiers"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := bytes.Repeat([]byte("freshet "), 600_000)
	rec := record("cities", 1)
	rec.Snapshot = dataset.Object{Version: 1, Digest: sha256.Sum256(content), Bytes: int64(len(content))}
	if err := s.PutObject(t.Context(), rec.Snapshot.Digest, rec.Snapshot.Bytes, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := s.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	near, far := tiers(t, cfg, deps)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if status, got, err := far.get("/v1/objects/" + rec.Snapshot.Digest.String()); err != nil || status != 200 || !bytes.Equal(got, content) {
				t.Errorf("%d with %d bytes, %v", status, len(got), err)
			}
		})
	}
	wg.Wait()
	for name, x := range map[string]*running{"near": near, "far": far} {
		if n := x.metric(t, "origin_bytes_total"); n != int64(len(content)) {
			t.Errorf("the %s relay read %d bytes for an object of %d", name, n, len(content))
		}
		if n := x.metric(t, "origin_reads_total"); n > 10 {
			t.Errorf("the %s relay asked %d times for 19 segments", name, n)
		}
	}
	status, text, err := far.get("/v1/datasets/cities/latest")
	if got, e := dataset.DecodeVersionRecord(text); err != nil || e != nil || got.Snapshot != rec.Snapshot {
		t.Errorf("the newest version: %d %s, %v", status, text, err)
	}
}

// The far relay passes on refusals of the near one.
func TestTiersRefuse(t *testing.T) {
	m := newMemory()
	d, want := m.add(objectBytes)
	near, far := tiers(t, config(), relay.Deps{Store: m})
	for path, status := range map[string]int{
		"/v1/objects/" + dataset.Digest{9}.String(): 404,
		"/v1/datasets/unknown/latest":               404,
	} {
		if got, _, err := far.get(path); err != nil || got != status {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
	m.fail(errors.New("disk on fire"))
	if status, _, err := far.get("/v1/objects/" + d.String()); err != nil || status != 503 {
		t.Errorf("the near relay has no store: %d, %v", status, err)
	}
	m.fail(nil)
	if status, got, err := far.get("/v1/objects/" + d.String()); err != nil || status != 200 || !bytes.Equal(got, want) {
		t.Errorf("after it: %d, %v", status, err)
	}
	if near.metric(t, "rejected_total") != 0 {
		t.Error("a store that fails is counted as a busy relay")
	}
}

// An upstream with a wrong answer is a failure.
func TestUpstreamAnswers(t *testing.T) {
	m := newMemory()
	d, want := m.add(2 << 20)
	etag := `"` + d.String() + `"`
	whole := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", etag)
		http.ServeContent(w, r, "", record("x", 1).Created, bytes.NewReader(want))
	}
	// change answers as whole does, and the header is changed.
	change := func(name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			whole(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.Header().Set(name, value)
			w.WriteHeader(rec.Code)
			_, _ = io.Copy(w, rec.Body)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		status int
		kind   string
	}{
		"right":          {whole, 200, ""},
		"weak etag":      {change("Etag", "W/"+etag), 200, ""},
		"other etag":     {change("Etag", `"x"`), 503, "store-unavailable"},
		"other range":    {change("Content-Range", "bytes 1-2/3"), 503, "store-unavailable"},
		"compressed":     {change("Content-Encoding", "gzip"), 503, "store-unavailable"},
		"busy":           {status(503), 503, "busy"},
		"too many":       {status(429), 503, "busy"},
		"failed":         {status(500), 503, "store-unavailable"},
		"no such object": {status(404), 404, "unknown-object"},
		"knows no ranges": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			whole(w, r)
		}, 503, "store-unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			up := httptest.NewServer(c.answer)
			defer up.Close()
			cfg := config()
			cfg.StoreURL = settings.URL(strings.Replace(up.URL, "http://", "http://user:secret@", 1))
			deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer deps.Close()
			h := newRelay(t, deps.Store, nil).Handler()
			res := do(t, h, "GET", "/v1/objects/"+d.String())
			if res.StatusCode != c.status {
				t.Fatalf("status %d, want %d", res.StatusCode, c.status)
			}
			if c.kind == "" {
				if got := body(t, res); !bytes.Equal(got, want) {
					t.Errorf("%d bytes", len(got))
				}
			} else if kind := problem(t, res); kind != c.kind {
				t.Errorf("problem %s, want %s", kind, c.kind)
			}
			if _, err := deps.Store.StatObject(t.Context(), d); err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// Invariant: a relay behind relays of different stores answers for one of them alone, and names that one with each answer.
func TestUpstreamsOfDifferentStores(t *testing.T) {
	one, other := newMemory(), newMemory()
	other.id = dataset.StoreID{2}
	names := []string{"cities", "prices", "rules", "ranges", "words", "models", "users", "zones"}
	for _, name := range names {
		for version, m := range map[uint64]*memory{3: one, 7: other} {
			rec := record(name, version)
			rec.StoreID = m.id
			m.latest[name] = rec
		}
	}
	far := behind(t, run(t, config(), relay.Deps{Store: one}).url, run(t, config(), relay.Deps{Store: other}).url)
	stores := map[string]bool{}
	for _, name := range names {
		res, err := http.Get(far.url + "/v1/datasets/" + name + "/latest")
		if err != nil {
			t.Fatal(err)
		}
		rec, err := dataset.DecodeVersionRecord(body(t, res))
		res.Body.Close()
		if err != nil || rec.StoreID.String() != res.Header.Get("Freshet-Store") {
			t.Errorf("version %d of store %s is answered as of store %s, %v", rec.Version, rec.StoreID, res.Header.Get("Freshet-Store"), err)
		}
		stores[res.Header.Get("Freshet-Store")] = true
	}
	status, text, err := far.get("/v1/store")
	var says struct{ Store string }
	if err == nil {
		err = json.Unmarshal(text, &says)
	}
	if err != nil || status != 200 || len(stores) != 1 || !stores[says.Store] {
		t.Errorf("the answers are of the stores %v, and the relay names %s: %d, %v", stores, says.Store, status, err)
	}
	if _, text, err := far.get("/metrics"); err != nil || bytes.Count(text, []byte("\nfreshet_relay_upstream_other_store{")) != 2 {
		t.Errorf("%v; the metrics say:\n%s", err, text)
	}
}
