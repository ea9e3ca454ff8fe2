package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/scan"
	"freshet.dev/services/internal/web"
	"freshet.dev/services/server"
)

const scans = "/v1/datasets/cities/scan"

// lines returns the rows of an answer and its last line.
func lines(t *testing.T, body string) (rows []string, last scan.Summary) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if err := json.Unmarshal([]byte(all[len(all)-1]), &last); err != nil || !last.End {
		t.Fatalf("the last line is %q: %v", all[len(all)-1], err)
	}
	return all[:len(all)-1], last
}

func many(n, size int) map[string]string {
	m := make(map[string]string, n)
	for i := range n {
		m[fmt.Sprintf("k/%d", i)] = fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("y", size))
	}
	return m
}

func TestScan(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 12, map[string]string{"a": `{"n":1,"c":"KR"}`, "b": `{"n":2,"c":"KR"}`, "c": `{"n":3,"c":"CH"}`, "d": `{}`})
	h := newServer(t, s).Handler()
	rec := send(h, "POST", scans, `{"filter":"value.c == 'KR'","select":["n"]}`)
	rows, last := lines(t, rec.Body.String())
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/x-ndjson" || rec.Header().Get("Freshet-Version") != "12" || rec.Header().Get("Freshet-Version-Id") != last.ID.String() {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	slices.Sort(rows)
	if !slices.Equal(rows, []string{`{"key":"a","value":{"n":1}}`, `{"key":"b","value":{"n":2}}`}) || last.Version != 12 || last.Scanned != 4 || last.Matched != 2 || last.Errors != 1 || last.FirstError.Key != "d" {
		t.Errorf("%q %+v", rows, last)
	}
	rec = send(h, "POST", scans, `{"group_by":{"c":"value.c"},"aggregate":{"n":"sum(value.n)"},"order":["-n"]}`)
	if rows, last := lines(t, rec.Body.String()); !slices.Equal(rows, []string{`{"c":"CH","n":3}`, `{"c":"KR","n":3}`}) || last.Rows != 2 {
		t.Errorf("%q %+v", rows, last)
	}
	rec = send(h, "POST", scans, `{"filter":"false"}`)
	if rows, last := lines(t, rec.Body.String()); len(rows) != 0 || last.Scanned != 4 || rec.Header().Get("Freshet-Version") != "12" {
		t.Errorf("%q %+v", rows, last)
	}
}

func TestScanRefusals(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, many(3000, 10))
	h := newServer(t, s).Handler()
	doc := wantProblem(t, send(h, "POST", scans, `{"filter":"value.n >\n  nn"}`), 400, "bad-scan")
	if doc["member"] != "filter" || doc["line"] != 2.0 || doc["column"] != 3.0 || !strings.Contains(doc["detail"].(string), "undeclared reference to 'nn'") {
		t.Errorf("%v", doc)
	}
	for body, want := range map[string]string{
		`{"fliter":"true"}`:                          "400 bad-json",
		`{"select":"n"}`:                             "400 bad-json",
		`{"select":{"a":"1","a":"2"}}`:               "400 bad-json",
		`{"limit":-1}`:                               "400 bad-scan",
		`{"cursor":"!"}`:                             "400 bad-scan",
		`{"cursor":"AQwAAAAAAAAAAGE"}`:               "410 cursor-gone",
		`{"group_by":{"k":"key + string(value.x)"}}`: "422 scan-limit",
		strings.Repeat(" ", 2<<20):                   "413 too-large",
	} {
		var status int
		var kind string
		if _, err := fmt.Sscanf(want, "%d %s", &status, &kind); err != nil {
			t.Fatal(err)
		}
		cfg := config()
		cfg.ScanMemory = 64 << 10
		wantProblem(t, send(newServerWith(t, cfg, s).Handler(), "POST", scans, body), status, kind)
	}
	wantProblem(t, send(h, "POST", "/v1/datasets/other/scan", `{}`), 404, "unknown-dataset")
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/scan", `{}`), 503, "no-version-yet")
	wantProblem(t, send(h, "POST", scans+"?limit=1", `{}`), 400, "bad-parameter")
	wantProblem(t, send(h, "GET", scans, ""), 405, "method-not-allowed")
	cfg := config()
	cfg.Scans = 0
	if doc := wantProblem(t, send(newServerWith(t, cfg, s).Handler(), "POST", scans, `{}`), 403, "scans-off"); !strings.Contains(doc["detail"].(string), "FRESHET_SCANS") {
		t.Errorf("%v", doc)
	}
}

// scanServer returns a server with a CPU lane of one place and the queue.
func scanServer(t *testing.T, s server.Source, queue int) (http.Handler, lane.Lanes) {
	t.Helper()
	lanes := lane.Defaults()
	lanes.CPU = lane.New(lane.Config{Name: "cpu", Width: 1, Queue: queue, Wait: time.Minute})
	srv, err := server.New(config(), server.Deps{Source: s, Log: slog.New(slog.DiscardHandler), Registry: web.NewRegistry(), Lanes: lanes})
	if err != nil {
		t.Fatal(err)
	}
	return srv.Handler(), lanes
}

// stuck is a client that receives nothing until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	writes chan struct{} // receives a value when a write begins
	let    chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	select {
	case s.writes <- struct{}{}:
	default:
	}
	<-s.let
	return s.ResponseRecorder.Write(b)
}

// A client that receives no rows takes no place of the lane, and its scan stays with its version; scans beyond FRESHET_SCANS are refused.
func TestSlowClientsOfScans(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 1, many(5000, 100))
	h, lanes := scanServer(t, s, 4)
	var clients []*stuck
	var all sync.WaitGroup
	for range config().Scans {
		c := &stuck{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
		clients = append(clients, c)
		all.Go(func() { h.ServeHTTP(c, httptest.NewRequest("POST", scans, strings.NewReader(`{}`))) })
		<-c.writes
	}
	if err := lanes.CPU.Do(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("the lane: %v", err)
	}
	rec := send(h, "POST", scans, `{"filter":"false"}`)
	if doc := wantProblem(t, rec, 503, "busy"); doc["limit"] != 2.0 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%v", doc)
	}
	s.serve(t, "cities", 2, map[string]string{"new": `{}`})
	for _, c := range clients {
		close(c.let)
	}
	all.Wait()
	for _, c := range clients {
		if rows, last := lines(t, c.Body.String()); len(rows) != 5000 || last.Version != 1 {
			t.Errorf("%d rows, %+v", len(rows), last)
		}
	}
	if rows, last := lines(t, send(h, "POST", scans, `{}`).Body.String()); len(rows) != 1 || last.Version != 2 {
		t.Errorf("%q, %+v", rows, last)
	}
}

func TestScanAtAFullLane(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 1, many(10, 10))
	h, lanes := scanServer(t, s, 0)
	_, leave, err := lanes.CPU.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec := send(h, "POST", scans, `{}`)
	if doc := wantProblem(t, rec, 503, "busy"); doc["lane"] != "cpu" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%v %v", doc, rec.Header())
	}
	leave()
	if rec := send(h, "POST", scans, `{}`); rec.Code != 200 {
		t.Errorf("%d", rec.Code)
	}
}

// A scan ends when its client leaves: it gives its place to others.
func TestClientsThatLeaveScans(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 1, many(30_000, 1000))
	cfg := config()
	cfg.Scans = 1
	srv := httptest.NewServer(newServerWith(t, cfg, s).Handler())
	defer srv.Close()
	post := func(ctx context.Context, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "POST", srv.URL+scans, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(req)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return res
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res := post(ctx, `{}`)
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"key":"k/`) {
		t.Fatalf("%q, %v", line, err)
	}
	cancel()
	res.Body.Close()
	for {
		res := post(t.Context(), `{"limit":1}`)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			break
		}
		if res.StatusCode != http.StatusServiceUnavailable {
			t.Fatal(res.Status)
		}
	}
}

// Pages of versions that follow each other have each record once.
func TestPagesOfScans(t *testing.T) {
	s := newSource("cities", "prices")
	all := many(500, 10)
	h := newServer(t, s).Handler()
	seen := make(map[string]int)
	request := `{"select":["n"],"limit":37}`
	for version := uint64(1); ; version++ {
		all[fmt.Sprintf("k/%d", version)] = fmt.Sprintf(`{"n":%d,"changed":true}`, version)
		s.serve(t, "cities", version, all)
		rows, last := lines(t, send(h, "POST", scans, request).Body.String())
		for _, row := range rows {
			seen[row]++
		}
		if last.Version != version {
			t.Fatalf("%+v", last)
		}
		if last.Cursor == "" {
			break
		}
		if last.Stopped != scan.StoppedByLimit || len(rows) != 37 {
			t.Fatalf("%d rows, %+v", len(rows), last)
		}
		request = fmt.Sprintf(`{"select":["n"],"limit":37,"cursor":%q}`, last.Cursor)
	}
	for i := range 500 {
		if n := seen[fmt.Sprintf(`{"key":"k/%d","value":{"n":%d}}`, i, i)]; n != 1 {
			t.Errorf("record %d came %d times", i, n)
		}
	}
}
