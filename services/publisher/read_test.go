package publisher_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/services/publisher"
)

const (
	datasetURL = "/v1/datasets/prices"
	second     = `{"id":"a","v":1}` + "\n" + `{"id":"b","v":3,"w":[1]}` + "\n" + `{"id":"c/..//d","v":4}` + "\n"
)

// twoVersions returns the handler of a publisher with versions ndjson and second.
func twoVersions(t *testing.T) http.Handler {
	t.Helper()
	h := newPublisher(t, openStore(t), nil).Handler()
	for i, text := range []string{ndjson, second} {
		if rec := send(h, "POST", versions+"?key=id&source=test", text); rec.Code != 201 {
			t.Fatalf("version %d: %d %s", i+1, rec.Code, rec.Body)
		}
	}
	return h
}

// publishRecords publishes records of any bytes.
func publishRecords(t *testing.T, s store.Store, records iter.Seq2[string, string]) {
	t.Helper()
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), "prices", publish.Input{Records: publish.Pairs(records)}); err != nil {
		t.Fatal(err)
	}
}

func TestReadRecord(t *testing.T) {
	h := twoVersions(t)
	for path, want := range map[string]string{
		"/records/a?version=1":                `1 {"id":"a","v":1}`,
		"/records/b?version=1":                `1 {"id":"b","v":2}`,
		"/records/b?version=2":                `2 {"id":"b","v":3,"w":[1]}`,
		"/records/b":                          `2 {"id":"b","v":3,"w":[1]}`,
		"/records/c/..//d":                    `2 {"id":"c/..//d","v":4}`,
		"/records/c%2F..%2F%2Fd":              `2 {"id":"c/..//d","v":4}`,
		"/records/..?version=1":               "1 unknown-key",
		"/records/c?version=2":                "2 unknown-key",
		"/records/%FF":                        "2 unknown-key",
		"/records/a?version=3":                " unknown-version",
		"/records/a?version=x":                " bad-parameter",
		"/records/a?vresion=1":                " bad-parameter",
		"/records/":                           " bad-key",
		"/records/" + repeated("k"):           " bad-key",
		"/keys?version=3":                     " unknown-version",
		"/keys?limit=0":                       " bad-parameter",
		"/keys?limit=1001":                    " bad-parameter",
		"/keys?cursor=YQ":                     " bad-parameter", // without the version
		"/keys?version=0&cursor=YQ":           " bad-parameter",
		"/keys?version=&cursor=YQ":            " bad-parameter",
		"/keys?version=1&cursor=%21":          " bad-parameter",
		"/keys?version=1&cursor=":             " bad-parameter",
		"/records:export?form=xml":            " bad-parameter",
		"/records:export?version=9":           " unknown-version",
		"/diff":                               " bad-parameter",
		"/diff?from=1&to=9":                   " unknown-version",
		"/diff?from=1&cursor=YQ":              " bad-parameter", // without to
		"/diff?from=1&to=0&cursor=YQ":         " bad-parameter",
		"/diff?from=1&to=&cursor=YQ":          " bad-parameter",
		"/diff?from=1&stat=yes":               " bad-parameter",
		"/history/":                           " bad-key",
		"/history/a?before=x":                 " bad-parameter",
		"/size?version=9":                     " unknown-version",
		"/size?last=5000":                     " bad-parameter",
		"/size?version=1&version=2":           " bad-parameter",
		"/records:export?form=entries&key=id": " bad-parameter",
		"/diff?from=1&to=2&stat=true&limit=1": " bad-parameter",
	} {
		rec := send(h, "GET", datasetURL+path, "")
		got := rec.Header().Get("Freshet-Version") + " " + rec.Body.String()
		if rec.Code != 200 {
			p := decode[problem](t, rec)
			got = rec.Header().Get("Freshet-Version") + " " + strings.TrimPrefix(p.Type, "https://freshet.dev/problems/")
			if p.Dataset != "prices" && !strings.HasPrefix(got, " bad-") {
				t.Errorf("%s: the problem names no dataset: %s", path, rec.Body)
			}
		} else if rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Freshet-Version-Id") == "" {
			t.Errorf("%s: %v", path, rec.Header())
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if rec := send(h, "GET", datasetURL+"/size?version=9", ""); !strings.Contains(rec.Body.String(), "it has the versions 1 to 2") {
		t.Errorf("%s", rec.Body)
	}
	if rec := send(h, "HEAD", datasetURL+"/records:export", ""); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET" {
		t.Errorf("HEAD: %d %v", rec.Code, rec.Header())
	}
}

func repeated(s string) string { return strings.Repeat(s, dataset.MaxKeyBytes+1) }

// A misspelt dataset is refused by every route with the names that it may mean.
func TestAMisspeltDataset(t *testing.T) {
	h := twoVersions(t)
	for _, path := range []string{"/records/a", "/records/a?version=1", "/records:export", "/keys", "/diff?from=1&to=2", "/history/a", "/size", "/versions"} {
		p := wantProblem(t, send(h, "GET", "/v1/datasets/pirces"+path, ""), 404, "unknown-dataset")
		if p.Detail != "dataset pirces has no version; did you mean prices?" || p.Dataset != "pirces" {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// get requests a path over a connection, because only then are there trailers.
func get(t *testing.T, base, path string) (body string, header, trailer http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %s: %v", path, resp.StatusCode, b, err)
	}
	return string(b), resp.Header, resp.Trailer
}

// The lines of an export, published again, make the same state.
func TestExport(t *testing.T) {
	h := twoVersions(t)
	srv := httptest.NewServer(h)
	defer srv.Close()
	for version, text := range map[int]string{1: ndjson, 2: second} {
		body, header, trailer := get(t, srv.URL, fmt.Sprintf(datasetURL+"/records:export?version=%d", version))
		lines, want := strings.SplitAfter(body, "\n"), strings.SplitAfter(text, "\n")
		slices.Sort(lines)
		slices.Sort(want)
		if !slices.Equal(lines, want) || header.Get("Content-Type") != "application/x-ndjson" || header.Get("Freshet-Version") != fmt.Sprint(version) {
			t.Errorf("version %d: %q, want %q: %v", version, lines, want, header)
		}
		if trailer.Get(publisher.KeyMemberTrailer) != "id" || trailer.Get(publisher.RecordsTrailer) != fmt.Sprint(len(want)-1) {
			t.Errorf("version %d: trailer %v", version, trailer)
		}
		old := decode[dataset.VersionRecord](t, send(h, "GET", fmt.Sprintf(versions+"/%d", version), ""))
		again := decode[publisher.Publication](t, send(h, "POST", versions+"?key=id", body))
		if again.Record.State != old.State {
			t.Errorf("version %d has state %v, and published again %v", version, old.State, again.Record.State)
		}
	}
}

// Every record has a line among the entries; one that a publish would not read back is refused by name in the form of a publish.
func TestExportOfAnyBytes(t *testing.T) {
	s := openStore(t)
	all := map[string]string{
		"json": `{"a": [1, 2]}`, "number": "1.50", "blanks": ` {"a":1}`, "lines": "{\n}", "text": "it's \"text\" \u2028<&", "bytes": "\xff\x00", "empty": "",
		"\xff\xfe": "key", "\n": "{}", "twice": `{"a":1,"a":2}`, "null": "null",
	}
	publishRecords(t, s, maps.All(all))
	h := newPublisher(t, s, nil).Handler()
	body := send(h, "GET", datasetURL+"/records:export?form=entries", "").Body.Bytes()
	got := map[string]string{}
	for line := range bytes.Lines(body) {
		var e struct {
			publisher.Key
			Value       json.RawMessage `json:"value"`
			ValueText   *string         `json:"value_text"`
			ValueBase64 []byte          `json:"value_base64"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		value := string(e.Value) + string(e.ValueBase64)
		if e.ValueText != nil {
			value = *e.ValueText
		}
		got[string(e.Bytes())] = value
	}
	if !maps.Equal(got, all) {
		t.Errorf("%q, want %q", got, all)
	}
	p := wantProblem(t, send(h, "GET", datasetURL+"/records:export", ""), http.StatusNotAcceptable, "record-not-writable")
	if p.Dataset != "prices" || !strings.Contains(p.Detail, "cannot be written so that a publish reads it back") || !strings.Contains(p.Detail, "form entries") {
		t.Errorf("%+v", p)
	}
	list := decode[publisher.KeyList](t, send(h, "GET", datasetURL+"/keys", ""))
	keys := map[string]bool{}
	for _, key := range list.Keys {
		keys[string(key.Bytes())] = true
	}
	if len(keys) != len(all) || !keys["\xff\xfe"] || !keys["\n"] {
		t.Errorf("%v", keys)
	}
}

func TestReadKeysInPages(t *testing.T) {
	s := openStore(t)
	var names []string
	publishRecords(t, s, func(yield func(string, string) bool) {
		for i := range 2500 {
			names = append(names, fmt.Sprintf("k%d", i))
			if !yield(names[i], "{}") {
				return
			}
		}
	})
	h := newPublisher(t, s, nil).Handler()
	for query, want := range map[string]int{"": 2500, "&prefix=k1": 1111, "&prefix=k2499": 1, "&prefix=x": 0, "&limit=7": 2500} {
		seen := map[string]bool{}
		cursor, pages := "", 0
		for {
			list := decode[publisher.KeyList](t, send(h, "GET", datasetURL+"/keys?version=1"+query+cursor, ""))
			for _, key := range list.Keys {
				seen[key.Key] = true
			}
			if pages++; list.Next == "" {
				break
			}
			cursor = "&cursor=" + list.Next
		}
		if len(seen) != want || query == "" && pages != 3 {
			t.Errorf("%s: %d keys in %d pages, want %d", query, len(seen), pages, want)
		}
	}
}
