package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
	"freshet.dev/services/publisher"
)

// verifyLines returns the findings of an answer, and its last line.
func verifyLines(t *testing.T, rec *httptest.ResponseRecorder) (findings []verify.Finding, last publisher.VerifyLine) {
	t.Helper()
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	lines := strings.Split(strings.TrimSuffix(rec.Body.String(), "\n"), "\n")
	for i, text := range lines {
		var line publisher.VerifyLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if (line.Finding == nil) != (i == len(lines)-1) {
			t.Errorf("line %d of %d is %s", i+1, len(lines), text)
		}
		if line.Finding != nil {
			findings = append(findings, *line.Finding)
		}
		last = line
	}
	return findings, last
}

// spoil flips a bit of an object of a store in a folder.
func spoil(t *testing.T, s store.Store, o dataset.Object) {
	t.Helper()
	path := s.ObjectPlace(o.Digest)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	first := decode[publisher.Publication](t, send(h, "POST", versions+"?key=id", ndjson)).Record
	second := decode[publisher.Publication](t, send(h, "POST", versions+"?key=id", `{"id":"z"}`)).Record
	send(h, "POST", "/v1/datasets/rules/versions?key=id", ndjson)

	findings, last := verifyLines(t, send(h, "POST", "/v1/verify", ""))
	if len(findings) > 0 || last.Totals == nil || last.Totals.Datasets != 2 || last.Totals.Versions != 3 || last.Totals.Objects == 0 {
		t.Errorf("found %+v, %+v", findings, last.Totals)
	}
	spoil(t, s, second.Snapshot)
	findings, last = verifyLines(t, send(h, "POST", "/v1/datasets/prices/verify", ""))
	if len(findings) != 1 || findings[0].Kind != verify.KindSnapshot || findings[0].Object != second.Snapshot || findings[0].Repaired || last.Totals.Findings != 1 || last.Totals.Datasets != 1 {
		t.Fatalf("found %+v, %+v", findings, last.Totals)
	}
	if findings, _ = verifyLines(t, send(h, "POST", "/v1/datasets/rules/verify?repair=false", "")); len(findings) > 0 {
		t.Errorf("found %+v in another dataset", findings)
	}
	spoil(t, s, first.Snapshot)
	findings, last = verifyLines(t, send(h, "POST", "/v1/verify?repair=true", ""))
	if len(findings) != 2 || last.Totals.Repaired != 0 || !strings.Contains(findings[1].Remedy, "publish all records of prices again") {
		t.Errorf("found %+v, %+v", findings, last.Totals)
	}
	for _, line := range []string{ndjson, `{"id":"z"}`} { // the remedy
		if rec := send(h, "POST", versions+"?key=id", line); rec.Code/100 != 2 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if findings, last = verifyLines(t, send(h, "POST", "/v1/verify?repair=true", "")); len(findings) > 0 || last.Totals == nil {
		t.Errorf("after the remedy: %+v", findings)
	}
}

// A version that a repair publishes names who asked for it, as a rollback does.
func TestRepairNamesTheCaller(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	var all strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&all, `{"id":"%d","v":%d}`+"\n", i, i)
	}
	first := decode[publisher.Publication](t, send(h, "POST", versions+"?key=id", all.String())).Record
	for i := range 2 {
		send(h, "PATCH", "/v1/datasets/prices?key=id", fmt.Sprintf(`{"id":"%d","v":"new"}`, i))
	}
	lib, err := publish.Open(publish.Config{TempDir: t.TempDir(), MaxDeltas: 1}, publish.Deps{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := lib.Compact(t.Context(), "prices"); err != nil || c.Record.Object.Version != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	spoil(t, s, first.Snapshot)
	verifyLines(t, send(h, "POST", "/v1/datasets/prices/verify?repair=true&by=bob", "", "Freshet-By", "ann@host"))
	rec, err := s.Latest(t.Context(), "prices")
	if err != nil || rec.Version != 4 || rec.By != "ann@host" || rec.Reason != "verify --repair: version 3 has lost objects" {
		t.Errorf("the newest version is %+v, %v", rec, err)
	}
}

func TestVerifyIsRefused(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/verify", ""), 404, "unknown-dataset")
	wantProblem(t, send(h, "POST", "/v1/datasets/Prices/verify", ""), 400, "bad-dataset-name")
	wantProblem(t, send(h, "POST", "/v1/verify?repair=yes", ""), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", "/v1/verify?fix=true", ""), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", "/v1/verify?by=ann%0A", ""), 400, "bad-input")
	wantProblem(t, send(h, "GET", "/v1/verify", ""), 405, "method-not-allowed")
}

// gate is a store whose list of datasets waits.
type gate struct {
	store.Store
	entered, open chan struct{}
	err           error
}

func (g *gate) Datasets(ctx context.Context) ([]string, error) {
	g.entered <- struct{}{}
	<-g.open
	if g.err != nil {
		return nil, g.err
	}
	return g.Store.Datasets(ctx)
}

// One verification runs at a time. Its answer begins before its end.
func TestOneVerificationAtATime(t *testing.T) {
	g := &gate{Store: openStore(t), entered: make(chan struct{}), open: make(chan struct{})}
	h := newPublisher(t, g, nil).Handler()
	server := httptest.NewServer(h)
	defer server.Close()
	answer := make(chan *http.Response, 1)
	go func() {
		resp, err := http.Post(server.URL+"/v1/verify", "", nil)
		if err != nil {
			t.Error(err)
		}
		answer <- resp
	}()
	<-g.entered
	resp := <-answer // the header arrives while the store is read
	rec := send(h, "POST", "/v1/verify", "")
	if wantProblem(t, rec, 429, "busy"); rec.Header().Get("Retry-After") == "" {
		t.Errorf("header is %v", rec.Header())
	}
	close(g.open)
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), `{"totals":{"datasets":0,`) {
		t.Errorf("%s, %v", body, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	go func() { <-g.entered }()
	if rec := send(h, "POST", "/v1/verify", ""); rec.Code != 200 {
		t.Errorf("%d %s after the end of the first", rec.Code, rec.Body)
	}
}

// A verification that the store ends has the problem in its last line.
func TestVerifyEndsWithAProblem(t *testing.T) {
	g := &gate{Store: openStore(t), entered: make(chan struct{}, 1), open: make(chan struct{}), err: errors.New("no route to the store")}
	close(g.open)
	_, last := verifyLines(t, send(newPublisher(t, g, nil).Handler(), "POST", "/v1/verify", ""))
	var p problem
	if err := json.Unmarshal(last.Problem, &p); err != nil || last.Totals != nil || p.Status != 503 || p.Type != "https://freshet.dev/problems/store-unavailable" {
		t.Errorf("%s, %v", last.Problem, err)
	}
}

// slowStore is a store whose list of datasets takes a minute.
type slowStore struct{ store.Store }

func (s slowStore) Datasets(ctx context.Context) ([]string, error) {
	<-time.After(time.Minute)
	return s.Store.Datasets(ctx)
}

// While a verification goes on, its answer has an empty line every 15 seconds, and none after its end.
func TestVerifyWritesEmptyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPublisher(t, slowStore{openStore(t)}, nil).Handler()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("POST", "/v1/verify", http.NoBody))
		time.Sleep(time.Hour)
		if body := rec.Body.String(); !strings.HasPrefix(body, "{}\n{}\n{}\n{") || strings.Count(body, "{}\n") > 4 || !strings.HasSuffix(body, `"repaired":0}}`+"\n") {
			t.Errorf("the answer is %s", body)
		}
	})
}
