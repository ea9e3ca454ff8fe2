package relay_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/pin"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/relay"
)

// A relay answers for the pins in its store with the records of the pinned versions, and a relay behind it answers the same.
func TestPins(t *testing.T) {
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
	rec := record("cities", 1)
	rec.StoreID = id
	content := []byte("an object")
	rec.Snapshot = dataset.Object{Version: 1, Digest: sha256.Sum256(content), Bytes: int64(len(content))}
	if err := st.PutObject(t.Context(), rec.Snapshot.Digest, rec.Snapshot.Bytes, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := st.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	j, err := journal.New(journal.Config{}, journal.Deps{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.StoreURL = settings.URL(url)
	deps, err := relay.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer deps.Close()
	near, far := tiers(t, cfg, deps)
	wantPins := func(pins, versions int) {
		t.Helper()
		for name, x := range map[string]*running{"near": near, "far": far} {
			client, err := pull.New(pull.Config{Relays: []string{x.url}})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			got, err := client.Pins(t.Context(), "cities", id)
			if err != nil || len(got.Pins) != pins || len(got.Versions) != versions || versions > 0 && got.Versions[0].VersionID() != rec.VersionID() {
				t.Errorf("the %s relay: %+v, %v", name, got, err)
			}
			if _, err := client.Pins(t.Context(), "cities", dataset.StoreID{9}); err == nil {
				t.Errorf("the %s relay answers for another store", name)
			}
			if got, err := client.Pins(t.Context(), "rules", id); err != nil || len(got.Pins) != 0 || got.Journal != 0 {
				t.Errorf("the %s relay about a dataset without pins: %+v, %v", name, got, err)
			}
			if status, _, err := x.get("/v1/datasets/No/pins"); err != nil || status != http.StatusBadRequest {
				t.Errorf("the %s relay about no dataset: %d, %v", name, status, err)
			}
		}
	}
	wantPins(0, 0)
	in := pin.Input{Dataset: "cities", Version: 1, Select: fleet.Selection{All: true}, Audit: pin.Audit{Reason: "r"}}
	if _, err := (pin.Pins{Journal: j, Store: st}).Set(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	wantPins(1, 1)
	if _, err := (pin.Pins{Journal: j, Store: st}).Unset(t.Context(), "cities", in.Select, in.Audit); err != nil {
		t.Fatal(err)
	}
	wantPins(0, 0)
}

// A relay whose upstreams are of releases before pins answers as they do: 404.
func TestPinsOfAnOlderRelay(t *testing.T) {
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
	status, text, err := x.get("/v1/datasets/cities/pins")
	var problem struct{ Detail string }
	if jsonErr := json.Unmarshal(text, &problem); err != nil || status != http.StatusNotFound || jsonErr != nil || problem.Detail == "" {
		t.Errorf("%d %s, %v", status, text, err)
	}
}
