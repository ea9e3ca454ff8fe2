package relay_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/relay"
)

// Invariant: a relay names no store that the version records do not name: a wrong store.json must not look like another store.
func TestAStoreIDThatTheRecordsDoNotName(t *testing.T) {
	folder := t.TempDir()
	st, err := storeurl.Open(t.Context(), "dir://"+folder)
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
	if err := st.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	h := newRelay(t, relay.FromStore(st), nil).Handler()
	if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 200 || res.Header.Get("Freshet-Store") != id.String() {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	wrong, err := json.Marshal(map[string]dataset.StoreID{"id": {1, 2, 3}})
	if err == nil {
		place := filepath.Join(folder, "store.json")
		err = errors.Join(os.Chmod(place, 0o600), os.WriteFile(place, wrong, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if res := do(t, h, "GET", "/v1/datasets/cities/latest"); res.StatusCode != 503 || res.Header.Get("Freshet-Store") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	// The answer that a dataset has no version does not name that store either, nor does the relay itself.
	if res := do(t, h, "GET", "/v1/datasets/none/latest"); res.StatusCode != 404 || res.Header.Get("Freshet-Store") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res := do(t, h, "GET", "/v1/store"); res.StatusCode != 200 || res.Header.Get("Freshet-Store") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	_, _, err = relay.FromStore(st).Newest(t.Context(), "cities")
	for _, part := range []string{filepath.Join(folder, "store.json"), id.String(), filepath.Join(folder, "versions")} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want it to name %s", err, part)
		}
	}

	if err := os.Remove(filepath.Join(folder, "store.json")); err != nil {
		t.Fatal(err)
	}
	res := do(t, h, "GET", "/v1/datasets/cities/latest")
	if got, err := dataset.DecodeVersionRecord(body(t, res)); res.StatusCode != 200 || res.Header.Get("Freshet-Store") != "" || got.Version != 1 {
		t.Errorf("without the file: %d %v %v", res.StatusCode, res.Header, err)
	}
	if again, err := st.EnsureID(t.Context()); err != nil || again != id {
		t.Fatalf("%s, %v", again, err)
	}
	if res := do(t, h, "GET", "/v1/datasets/none/latest"); res.StatusCode != 404 || res.Header.Get("Freshet-Store") != id.String() {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
