package publisher_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/services/publisher"
)

// idLines returns records with the ids from one number to before another.
func idLines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"id":"%d"}`+"\n", i)
	}
	return b.String()
}

// gateProblem is the problem of a refusal by a gate.
type gateProblem struct {
	Detail string
	Base   dataset.Ref
	Gates  []dataset.GateRefusal
}

func wantGate(t *testing.T, rec *httptest.ResponseRecorder, base uint64) {
	t.Helper()
	wantProblem(t, rec, 422, "gate-refused")
	p := decode[gateProblem](t, rec)
	if len(p.Gates) != 1 || p.Gates[0].Gate != "max_fewer_records_percent" || !p.Gates[0].Shrinks || p.Base.Version != base ||
		!strings.Contains(p.Detail, p.Gates[0].Detail) || !strings.Contains(p.Detail, "allow_shrink=true") {
		t.Errorf("%+v", p)
	}
}

func TestGates(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	if rec := send(h, "POST", versions+"?key=id", idLines(0, 200)); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	removals := strings.ReplaceAll(idLines(0, 150), "}", `,"$remove":true}`)
	wantGate(t, send(h, "POST", versions+"?key=id", idLines(0, 1)), 1)
	wantGate(t, send(h, "PATCH", patchURL+"?key=id", removals), 1)
	wantGate(t, send(h, "PATCH", patchURL+"?key=id&allow_shrink=false&reason=why", removals), 1)
	wantProblem(t, send(h, "POST", versions+"?key=id&allow_shrink=true", idLines(0, 1)), 400, "bad-input")
	wantProblem(t, send(h, "POST", versions+"?key=id&allow_shrink=yes&reason=why", idLines(0, 1)), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", versions+"?key=id&dry_run=1", idLines(0, 1)), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", versions+"?key=id&reason="+strings.Repeat("x", 1025), idLines(0, 1)), 400, "bad-input")
	wantProblem(t, send(h, "POST", versions+"?key=id", idLines(0, 1), "Freshet-By", "a", "Freshet-By", "b"), 400, "bad-header")
	got := decode[publisher.Publication](t, send(h, "PATCH", patchURL+"?key=id&allow_shrink=true&reason=season+over&by=etl", removals))
	if got.Record.Version != 2 || got.Record.Reason != "season over" || got.Record.By != "etl" {
		t.Errorf("%+v", got)
	}
	got = decode[publisher.Publication](t, send(h, "POST", versions+"?key=id&by=other&reason=back", idLines(0, 200), "Freshet-By", "ann@db1"))
	if got.Record.Version != 3 || got.Record.Reason != "back" || got.Record.By != "ann@db1" {
		t.Errorf("%+v", got)
	}
	got = decode[publisher.Publication](t, send(h, "POST", versions+"?key=id&allow_shrink=true&reason=gone", idLines(0, 1)))
	if got.Record.Version != 4 || got.Record.State.Records != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDryRun(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	dry := func(method, path, body string) publisher.Publication {
		t.Helper()
		rec := send(h, method, path, body)
		got := decode[publisher.Publication](t, rec)
		if rec.Code != 200 || got.Created || got.Preview == nil || rec.Header().Get("Location") != "" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		return got
	}
	rec := send(h, "POST", versions+"?key=id&dry_run=true", idLines(0, 200))
	if strings.Contains(rec.Body.String(), "version_record") {
		t.Errorf("there is no version: %s", rec.Body)
	}
	if got := dry("POST", versions+"?key=id&dry_run=true", idLines(0, 200)); !got.Preview.Creates || got.Preview.Changes.Added != 200 || got.Preview.Base.Version != 0 {
		t.Errorf("%+v", got.Preview)
	}
	wantProblem(t, send(h, "GET", versions, ""), 404, "unknown-dataset")
	if rec := send(h, "POST", versions+"?key=id&dry_run=false", idLines(0, 200)); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	got := dry("POST", versions+"?key=id&dry_run=true", idLines(0, 1))
	if seen := got.Preview; len(seen.Refused) != 1 || seen.Changes.Removed != 199 || seen.Before.Records != 200 || seen.After.Records != 1 || got.Record.Version != 1 {
		t.Errorf("%+v", seen)
	}
	if got := dry("POST", versions+"?key=id&dry_run=true&allow_shrink=true&reason=why", idLines(0, 1)); len(got.Preview.Refused) != 0 || len(got.Preview.Allowed) != 1 {
		t.Errorf("%+v", got.Preview)
	}
	got = dry("PATCH", patchURL+"?key=id&dry_run=true", `{"id":"0","v":1}`)
	if got.Preview.Changes.Changed != 1 || *got.Patch != (publisher.Patch{Changed: 1}) {
		t.Errorf("%+v, %+v", got.Preview, got.Patch)
	}
	wantProblem(t, send(h, "POST", versions+"?key=id&dry_run=true", "{"), 400, "bad-input")
	if rec, err := s.Latest(t.Context(), "prices"); err != nil || rec.Version != 1 {
		t.Errorf("the newest version is %d, %v", rec.Version, err)
	}
}

const rollbackURL = "/v1/datasets/prices/rollback"

func TestRollback(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	wantProblem(t, send(h, "POST", rollbackURL+"?to=1&reason=why", ""), 404, "unknown-dataset")
	for _, text := range []string{idLines(0, 300), idLines(0, 301), idLines(1, 302)} {
		if rec := send(h, "POST", versions+"?key=id", text); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	one, err := s.Version(t.Context(), "prices", 1)
	if err != nil {
		t.Fatal(err)
	}
	id := one.VersionID().String()
	rec := send(h, "POST", rollbackURL+"?to=1&reason=wrong+currency&dry_run=true", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 200 || got.Created || got.Preview == nil || got.Preview.Changes != (dataset.Changes{Added: 1, Removed: 2}) || got.Record.Version != 3 {
		t.Errorf("dry run: %d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", rollbackURL+"?to=1@"+id[:12]+"&reason=wrong+currency", "", "Freshet-By", "ann@db1", "Idempotency-Key", "req-1")
	got := decode[publisher.Publication](t, rec)
	if rec.Code != 201 || rec.Header().Get("Location") != versions+"/4" || got.Record.State != one.State || got.Record.Restores != one.Ref() ||
		got.Record.Reason != "wrong currency" || got.Record.By != "ann@db1" || got.Record.Changes != (dataset.Changes{Added: 1, Removed: 2}) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = send(h, "POST", rollbackURL+"?to=1&reason=wrong+currency", "", "Idempotency-Key", "req-1")
	if got := decode[publisher.Publication](t, rec); rec.Code != 201 || !got.Repeated || got.Record.Version != 4 {
		t.Errorf("repeated: %d %s", rec.Code, rec.Body)
	}
	wantProblem(t, send(h, "POST", rollbackURL+"?to=2&reason=why", "", "Idempotency-Key", "req-1"), 422, "request-id-reused")
	rec = send(h, "POST", rollbackURL+"?to=4&reason=why", "")
	if got := decode[publisher.Publication](t, rec); rec.Code != 200 || got.Created {
		t.Errorf("without change: %d %s", rec.Code, rec.Body)
	}
	if p := wantProblem(t, send(h, "POST", rollbackURL+"?to=9&reason=why", ""), 404, "unknown-version"); !strings.Contains(p.Detail, "the versions 1 to 4") {
		t.Errorf("%+v", p)
	}
	wantProblem(t, send(h, "POST", rollbackURL+"?to=1@ffffffffffff&reason=why", ""), 404, "unknown-version")
	wantProblem(t, send(h, "POST", rollbackURL+"?to=1", ""), 400, "bad-input")
	wantProblem(t, send(h, "POST", rollbackURL+"?reason=why", ""), 400, "bad-input")
	for _, to := range []string{"0", "x", "1@", "1@0123"} {
		wantProblem(t, send(h, "POST", rollbackURL+"?reason=why&to="+to, ""), 400, "bad-parameter")
	}
	wantProblem(t, send(h, "POST", rollbackURL+"?to=1&reason=why&allow_shrink=true", ""), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", "/v1/datasets/Prices/rollback?to=1&reason=why", ""), 400, "bad-input")
	if rec := send(h, "GET", rollbackURL, ""); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", rec.Code)
	}
}
