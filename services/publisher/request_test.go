package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
)

// mute is a store that commits the next version, but loses the answer and cannot be read for a while.
type mute struct {
	store.Store
	lose, silent bool
}

func (m *mute) PutVersion(ctx context.Context, rec dataset.VersionRecord) error {
	err := m.Store.PutVersion(ctx, rec)
	if m.lose && err == nil {
		m.lose, m.silent = false, true
		return errors.New("the connection broke")
	}
	return err
}

func (m *mute) Version(ctx context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if m.silent {
		m.silent = false
		return dataset.VersionRecord{}, errors.New("the connection broke")
	}
	return m.Store.Version(ctx, name, version)
}

func TestRequestWhoseOutcomeIsUnknownIsRepeated(t *testing.T) {
	s := &mute{Store: openStore(t)}
	h := newPublisher(t, s, nil).Handler()
	first := decode[publisher.Publication](t, send(h, "POST", versions+"?key=id", ndjson, "Idempotency-Key", `"load-1"`))
	if first.Record.RequestID != "load-1" || first.Repeated {
		t.Fatalf("%+v", first)
	}
	patch := func(header ...string) (int, publisher.Publication, string) {
		t.Helper()
		rec := send(h, "PATCH", "/v1/datasets/prices?key=id&base=1@"+first.Record.VersionID().String(), `{"id":"a","v":9}`, header...)
		return rec.Code, decode[publisher.Publication](t, rec), rec.Body.String()
	}
	s.lose = true
	rec := send(h, "PATCH", "/v1/datasets/prices?key=id&base=1", `{"id":"a","v":9}`, "Idempotency-Key", "patch-1")
	p := wantProblem(t, rec, 503, "commit-unknown")
	var members struct {
		Version   uint64            `json:"version"`
		VersionID dataset.VersionID `json:"version_id"`
		RequestID string            `json:"request_id"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &members); err != nil {
		t.Fatal(err)
	}
	newest := decode[dataset.VersionRecord](t, send(h, "GET", versions+"/2", ""))
	if members.Version != 2 || members.VersionID != newest.VersionID() || members.RequestID != "patch-1" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%+v, %s", members, rec.Body)
	}
	for _, text := range []string{
		"GET /v1/datasets/prices/versions/2 answers with the id " + newest.VersionID().String(), "send the request again with its Idempotency-Key",
	} {
		if !strings.Contains(p.Detail, text) {
			t.Errorf("the detail lacks %q: %s", text, p.Detail)
		}
	}
	if strings.Contains(p.Detail, "nothing was published") {
		t.Error(p.Detail)
	}

	code, again, body := patch("Idempotency-Key", "patch-1")
	if code != 201 || !again.Created || !again.Repeated || again.Record.Ref() != newest.Ref() || again.Patch == nil || again.Patch.Changed != 1 || again.Patch.Unchanged != 0 {
		t.Errorf("%d %s", code, body)
	}
	if code, _, body := patch(); code != http.StatusConflict {
		t.Errorf("without the header: %d %s", code, body)
	}
	wantProblem(t, send(h, "PATCH", "/v1/datasets/prices?key=id", `{"id":"a","v":10}`, "Idempotency-Key", "patch-1"), 422, "request-id-reused")

	s.lose = true
	p = wantProblem(t, send(h, "POST", versions+"?key=id", `{"id":"z"}`), 503, "commit-unknown")
	if !strings.Contains(p.Detail, "look for it before you publish again") {
		t.Error(p.Detail)
	}
}

func TestBadRequestIDs(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	for name, header := range map[string][]string{
		"blank":     {"Idempotency-Key", "a b"},
		"empty":     {"Idempotency-Key", ""},
		"quotes":    {"Idempotency-Key", `""`},
		"one quote": {"Idempotency-Key", `"a`},
		"long":      {"Idempotency-Key", strings.Repeat("x", 129)},
		"two":       {"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			p := wantProblem(t, send(h, "POST", versions+"?key=id", ndjson, header...), 400, "bad-request-id")
			if !strings.Contains(p.Detail, "Idempotency-Key") {
				t.Error(p.Detail)
			}
		})
	}
}
