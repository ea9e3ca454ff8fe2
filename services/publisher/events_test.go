package publisher_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/timeline"
)

// story makes two datasets with versions and settings. The first publish of each adds an entry that sets the key.
func story(t *testing.T, h http.Handler) {
	t.Helper()
	for _, step := range [][3]string{
		{"PATCH", settingsPath, `{"settings":{"min_records":1},"by":"ann","reason":"first"}`},
		{"POST", versions + "?key=id", `{"id":"a"}`},
		{"POST", "/v1/datasets/cities/versions?key=id", `{"id":"a"}`},
		{"POST", versions + "?key=id", `{"id":"b"}`},
		{"PATCH", settingsPath, `{"settings":{"min_records":null},"reason":"second"}`},
		{"POST", versions + "?key=id", `{"id":"c"}`},
	} {
		if rec := send(h, step[0], step[1], step[2]); rec.Code/100 != 2 {
			t.Fatalf("%s %s: %d %s", step[0], step[1], rec.Code, rec.Body)
		}
	}
}

// lines returns the events of an answer as text, and its last line.
func lines(t *testing.T, rec *httptest.ResponseRecorder) (text string, end timeline.End) {
	t.Helper()
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	var all []string
	ended := false
	for scan := bufio.NewScanner(bytes.NewReader(rec.Body.Bytes())); scan.Scan(); {
		e, last, err := timeline.ParseLine(scan.Bytes())
		switch {
		case err != nil || ended:
			t.Fatalf("%s, %v", scan.Bytes(), err)
		case last != nil:
			end, ended = *last, true
		case e.Version != nil:
			all = append(all, fmt.Sprint(e.Dataset, e.Version.Version))
		case e.Entry != nil:
			all = append(all, fmt.Sprint(e.Dataset, ".", e.Entry.Number))
		default:
			all = append(all, fmt.Sprint(e.Dataset, "!", max(e.Damaged.Version, e.Damaged.Entry)))
		}
	}
	if !ended {
		t.Fatalf("the answer has no last line: %s", rec.Body)
	}
	return strings.Join(all, " "), end
}

func TestEvents(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	if got, end := lines(t, send(h, "GET", "/v1/events", "")); got != "" || end.More {
		t.Errorf("an empty store has the events %s, %+v", got, end)
	}
	story(t, h)
	const whole = "prices.1 prices.2 prices1 cities.1 cities1 prices2 prices.3 prices3"
	for path, want := range map[string]string{
		"/v1/events":                            whole,
		"/v1/events?since=1h":                   whole,
		"/v1/events?since=2000-01-01T00:00:00Z": whole,
		"/v1/events?since=0s":                   "",
		"/v1/datasets/prices/events":            "prices.1 prices.2 prices1 prices2 prices.3 prices3",
		"/v1/datasets/prices/events?from=2":     "prices2 prices.3 prices3",
		"/v1/datasets/cities/events":            "cities.1 cities1",
	} {
		if got, end := lines(t, send(h, "GET", path, "")); got != want || end.More {
			t.Errorf("%s: %s, %+v; want %s", path, got, end, want)
		}
	}
	for _, limit := range []int{1, 4, 8} {
		var all []string
		path := fmt.Sprintf("/v1/events?limit=%d", limit)
		for next, more := path, true; more; {
			got, end := lines(t, send(h, "GET", next, ""))
			all = append(all, got)
			next, more = path+"&cursor="+end.Cursor, end.More
		}
		if got := strings.Join(all, " "); got != whole {
			t.Errorf("pages of %d: %s", limit, got)
		}
	}
}

// A cursor of the events of many datasets fits into a request.
func TestEventsOfManyDatasets(t *testing.T) {
	p := newPublisher(t, openStore(t), nil)
	story(t, p.Handler())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	<-p.Ready()
	at := timeline.Positions{"prices": {Version: 2, Entry: 2}, "cities": {Version: 1, Entry: 1}}
	for i := range 20_000 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		at[fmt.Sprintf("%.12x", sum[:])] = timeline.Position{Version: uint64(sum[0]) * uint64(sum[1]), Entry: uint64(sum[2] % 10)}
	}
	transport := &http.Transport{}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr()+"/v1/events?cursor="+at.Cursor(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	rec.Code = resp.StatusCode
	rec.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	if _, err := rec.Body.ReadFrom(resp.Body); err != nil {
		t.Error(err)
	}
	resp.Body.Close()
	if got, end := lines(t, rec); got != "prices.3 prices3" || end.More {
		t.Errorf("with a cursor of %d bytes: %s, %+v", len(at.Cursor()), got, end)
	}
	transport.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestEventsRefuse(t *testing.T) {
	h := newPublisher(t, openStore(t), nil).Handler()
	story(t, h)
	for path, want := range map[string]string{
		"/v1/events?limit=0":                         "400 bad-parameter: want 1 to 10000",
		"/v1/events?limit=10001":                     "400 bad-parameter: want 1 to 10000",
		"/v1/events?from=1":                          "400 bad-parameter: no parameter",
		"/v1/events?since=yesterday":                 "400 bad-parameter: how long ago",
		"/v1/events?since=-2h":                       "400 bad-parameter: how long ago",
		"/v1/events?cursor=x":                        "400 bad-parameter: not a cursor",
		"/v1/events?cursor=":                         "400 bad-parameter: not a cursor",
		"/v1/datasets/prices/events?from=0":          "400 bad-parameter: 1 or more",
		"/v1/datasets/prices/events?from=1&since=2h": "400 bad-parameter: give one of",
		"/v1/datasets/prices/events?from=4":          "404 unknown-version: the newest is 3",
		"/v1/datasets/Prices/events":                 "400 bad-dataset-name: not a dataset name",
		"/v1/datasets/price/events":                  "404 unknown-dataset: did you mean prices?",
		"/v1/datasets/nothing/events?from=3":         "404 unknown-dataset: dataset nothing",
	} {
		kind, text, _ := strings.Cut(want, ": ")
		var status int
		if _, err := fmt.Sscan(kind, &status, &kind); err != nil {
			t.Fatal(err)
		}
		if p := wantProblem(t, send(h, "GET", path, ""), status, kind); !strings.Contains(p.Detail, text) {
			t.Errorf("%s: %q, want %q", path, p.Detail, text)
		}
	}
	down := newPublisher(t, &broken{Store: openStore(t), err: errors.New("the disk is gone")}, nil).Handler()
	wantProblem(t, send(down, "GET", "/v1/datasets/prices/events", ""), 503, "store-unavailable")
	down = newPublisher(t, noJournals{openStore(t)}, nil).Handler()
	if p := wantProblem(t, send(down, "GET", "/v1/events", ""), 503, "store-unavailable"); !strings.HasPrefix(p.Detail, "the store did not answer;") {
		t.Errorf("%q", p.Detail)
	}
}

// noJournals is a store that does not list its journals.
type noJournals struct{ store.Store }

func (noJournals) Journals(context.Context) ([]string, error) {
	return nil, errors.New("the disk is gone")
}

// A damaged record is an event that names its file, and the others are there.
func TestEventsWithADamagedRecord(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	story(t, h)
	place := s.RecordPlace("prices", 2)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	rec := send(h, "GET", "/v1/datasets/prices/events", "")
	if got, _ := lines(t, rec); got != "prices.1 prices.2 prices1 prices!2 prices.3 prices3" || !strings.Contains(rec.Body.String(), place) {
		t.Errorf("%s: %s", got, rec.Body)
	}
}
