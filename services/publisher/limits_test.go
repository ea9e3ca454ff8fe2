package publisher_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
)

// TestRecordsThatNoInstanceLoads publishes and patches 65 values of 1 MiB whose keys have hashes with the same leading bits.
func TestRecordsThatNoInstanceLoads(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, func(c *publisher.Config, _ *publisher.Deps) { c.BodyBytes = 80 << 20 }).Handler()
	const path = "/v1/datasets/prices"
	if rec := send(h, http.MethodPost, path+"/versions?key=id", `{"id":"first"}`); rec.Code != http.StatusCreated {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	latest, err := s.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	pad := strings.Repeat("x", dataset.MaxValueBytes-40)
	lines := map[string]int{}
	key := []byte("0000000000000000")
	for i := uint64(0); len(lines) < 65; i++ {
		for at, n := len(key)-1, i; n > 0; at, n = at-1, n>>4 {
			key[at] = "0123456789abcdef"[n&15]
		}
		if snapshot.Group(dataset.Hash(uint64(latest.Seed), key)) == 1 {
			fmt.Fprintf(&rows, "{\"id\":\"%s\",\"v\":\"%s\"}\n", key, pad)
			lines[string(key)] = len(lines) + 1
		}
	}
	for method, path := range map[string]string{http.MethodPost: path + "/versions?key=id", http.MethodPatch: path + "?key=id"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, bytes.NewReader(rows.Bytes())))
		p := wantProblem(t, rec, http.StatusBadRequest, "bad-input")
		line, ours := lines[p.Key]
		if !ours || p.Dataset != "prices" || !strings.Contains(p.Detail, "no instance could load") || p.Hint == "" {
			t.Errorf("%s: %+v", method, p)
		}
		if method == http.MethodPost && p.Line != line {
			t.Errorf("line %d, key %s is on line %d", p.Line, p.Key, line)
		}
	}
	if _, err := s.Version(t.Context(), "prices", 2); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a version was committed: %v", err)
	}
}
