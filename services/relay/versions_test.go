package relay_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay"
)

// A relay answers for the record of each version in its store, not only of the newest, and a relay that reads from it answers the same.
func TestVersions(t *testing.T) {
	url := "dir://" + t.TempDir()
	st, err := storeurl.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	id, err := st.EnsureID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var records []dataset.VersionRecord
	for number := range uint64(3) {
		rec := record("cities", number+1)
		rec.StoreID = id
		if number > 0 {
			rec.Previous = records[number-1].VersionID()
		}
		if err := st.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	cfg := config()
	cfg.StoreURL = settings.URL(url)
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer deps.Close()
	near, far := tiers(t, cfg, deps)
	for name, x := range map[string]*running{"near": near, "far": far} {
		client, err := pull.New(pull.Config{Relays: []string{x.url}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, want := range records {
			got, err := client.Version(t.Context(), "cities", want.Version, id)
			if err != nil || got.VersionID() != want.VersionID() {
				t.Errorf("the %s relay about version %d: %+v, %v", name, want.Version, got, err)
			}
		}
		for _, missing := range []struct {
			name    string
			version uint64
		}{{"cities", 4}, {"rules", 1}} {
			if _, err := client.Version(t.Context(), missing.name, missing.version, id); !errors.Is(err, pull.ErrNotFound) {
				t.Errorf("the %s relay about %s/%d: %v", name, missing.name, missing.version, err)
			}
		}
		if _, err := client.Version(t.Context(), "cities", 1, dataset.StoreID{9}); err == nil || errors.Is(err, pull.ErrNotFound) {
			t.Errorf("the %s relay answers for another store: %v", name, err)
		}
		for _, path := range []string{"/v1/datasets/No/versions/1", "/v1/datasets/cities/versions/0", "/v1/datasets/cities/versions/x"} {
			if status, text, err := x.get(path); err != nil || status != http.StatusBadRequest {
				t.Errorf("the %s relay about %s: %d %s, %v", name, path, status, text, err)
			}
		}
	}
}

// A relay whose upstreams are of releases before such queries answers as they do: 404.
func TestVersionsOfAnOlderRelay(t *testing.T) {
	older := httptest.NewServer(http.NotFoundHandler())
	defer older.Close()
	cfg := config()
	cfg.StoreURL = settings.URL(older.URL)
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer deps.Close()
	x := run(t, cfg, deps)
	if status, text, err := x.get("/v1/datasets/cities/versions/1"); err != nil || status != http.StatusNotFound {
		t.Errorf("%d %s, %v", status, text, err)
	}
}
