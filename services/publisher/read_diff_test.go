package publisher_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/publisher"
)

// linesOf returns the lines of an answer, sorted but for the last.
func linesOf(t *testing.T, rec *httptest.ResponseRecorder) []string {
	t.Helper()
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	lines := strings.Split(strings.TrimSuffix(rec.Body.String(), "\n"), "\n")
	slices.Sort(lines[:len(lines)-1])
	return lines
}

func TestReadDiff(t *testing.T) {
	h := twoVersions(t)
	added := `{"op":"added","key":"c/..//d","new":{"id":"c/..//d","v":4}}`
	changed := `{"op":"changed","key":"b","old":{"id":"b","v":2},"new":{"id":"b","v":3,"w":[1]},"members":["v","w"]}`
	end := func(from, to, added, changed, removed int, byDeltas bool) string {
		return fmt.Sprintf(`{"end":true,"dataset":"prices","from":%d,"to":%d,"added":%d,"changed":%d,"removed":%d,"by_deltas":%v}`, from, to, added, changed, removed, byDeltas)
	}
	byDeltas := strings.Contains(send(h, "GET", datasetURL+"/diff?from=1&to=2", "").Body.String(), `"by_deltas":true`)
	for path, want := range map[string][]string{
		"?from=1&to=2": {added, changed, end(1, 2, 1, 1, 0, byDeltas)},
		"?from=1":      {added, changed, end(1, 2, 1, 1, 0, byDeltas)},
		"?from=2&to=1": {
			`{"op":"changed","key":"b","old":{"id":"b","v":3,"w":[1]},"new":{"id":"b","v":2},"members":["v","w"]}`,
			`{"op":"removed","key":"c/..//d","old":{"id":"c/..//d","v":4}}`, end(2, 1, 0, 1, 1, byDeltas),
		},
		"?from=2&to=2": {end(2, 2, 0, 0, 0, false)},
	} {
		if got := linesOf(t, send(h, "GET", datasetURL+"/diff"+path, "")); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", path, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	rec := send(h, "GET", datasetURL+"/diff?from=2&to=1&stat=true", "")
	if d := decode[publisher.Diff](t, rec); d.Added != 0 || d.Changed != 1 || d.Removed != 1 || d.End || d.From != 2 {
		t.Errorf("%s", rec.Body)
	}
	// In pages of one change.
	var all []string
	cursor := ""
	for {
		lines := linesOf(t, send(h, "GET", datasetURL+"/diff?from=1&to=2&limit=1"+cursor, ""))
		var last publisher.Diff
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || !last.End || len(lines) > 2 {
			t.Fatalf("%v in %q", err, lines)
		}
		all = append(all, lines[:len(lines)-1]...)
		if last.Next == "" {
			break
		}
		cursor = "&cursor=" + last.Next
	}
	if slices.Sort(all); !slices.Equal(all, []string{added, changed}) {
		t.Errorf("the pages have %q", all)
	}
}

func TestMembers(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{`{"a":1,"b":2}`, `{"a":1,"b":3}`, `b 2 3`},
		{`{"a":1,"b":{"c":[1,2]}}`, `{"b":{"c":[1,3]},"d":null,"a":1}`, `b {"c":[1,2]} {"c":[1,3]}; d  null`},
		{`{"a":1,"b":2}`, `{"b":2}`, `a 1 `},
		{`{"a":1,"b":[1, 2]}`, `{ "b":[1,2], "a":1}`, ``},
		{`{"a":1}`, `5`, ``},
		{`{"a":1`, `{"a":2}`, ``},
		{`{"\u0061":1}`, `{"a":2}`, `a 1 2`},
		{``, `{"a":2}`, ``},
	} {
		var got []string
		for _, m := range publisher.Members([]byte(c.before), []byte(c.after)) {
			got = append(got, fmt.Sprintf("%s %s %s", m.Name, m.Old, m.New))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s and %s: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

func TestReadHistory(t *testing.T) {
	h := twoVersions(t)
	if rec := send(h, "PATCH", patchURL+"?key=id&source=patch", `{"id":"b","$remove":true}`); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	type line struct {
		publisher.Event
		Op       string
		Old, New json.RawMessage
		publisher.History
	}
	read := func(path string) (events string, last line) {
		rec := send(h, "GET", datasetURL+path, "")
		for text := range bytes.Lines(rec.Body.Bytes()) {
			last = line{}
			if err := json.Unmarshal(text, &last); err != nil || rec.Code != 200 {
				t.Fatalf("%d %v in %s", rec.Code, err, rec.Body)
			}
			if last.End {
				break
			}
			if last.ID.IsZero() || last.Created == "" || last.Source == "" {
				t.Errorf("%s", text)
			}
			events += fmt.Sprintf("%d %s %s %s;", last.Version, last.Op, last.Old, last.New)
		}
		if !last.End {
			t.Errorf("no end in %s", rec.Body)
		}
		return events, last
	}
	three, two, one := `3 removed {"id":"b","v":3,"w":[1]} ;`, `2 changed {"id":"b","v":2} {"id":"b","v":3,"w":[1]};`, `1 added  {"id":"b","v":2};`
	for path, want := range map[string]struct {
		events string
		next   uint64
	}{
		"/history/b":                  {three + two + one, 0},
		"/history/b?limit=1":          {three, 3},
		"/history/b?limit=1&before=3": {two, 2},
		"/history/b?limit=1&before=2": {one, 0},
		"/history/b?before=1":         {"", 0},
		"/history/never":              {"", 0},
		"/history/c/..//d?limit=2":    {`2 added  {"id":"c/..//d","v":4};`, 2},
	} {
		if got, last := read(path); got != want.events || last.NextBefore != want.next || last.Dataset != "prices" {
			t.Errorf("%s: %s, next %d; want %s, %d", path, got, last.NextBefore, want.events, want.next)
		}
	}
}

func TestReadSize(t *testing.T) {
	h := twoVersions(t)
	s := decode[publisher.Size](t, send(h, "GET", datasetURL+"/size", ""))
	if s.Dataset != "prices" || s.Version != 2 || s.ID.IsZero() || s.Records != 3 || s.PayloadBytes == 0 || s.SnapshotBytes == 0 || s.TableBytes < int64(s.PayloadBytes) ||
		len(s.Growth) != 2 || s.Growth[1].Version != 1 || s.Growth[0].Records != 3 || s.Growth[0].Created == "" {
		t.Errorf("%+v", s)
	}
	if s = decode[publisher.Size](t, send(h, "GET", datasetURL+"/size?version=1&last=0", "")); s.Version != 1 || s.Records != 2 || len(s.Growth) != 0 {
		t.Errorf("%+v", s)
	}
}

// An object that is lost is named before the answer begins, or in its last line.
func TestReadALostObject(t *testing.T) {
	folder := t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	random := rand.New(rand.NewPCG(1, 2))
	publishRecords(t, s, func(yield func(string, string) bool) {
		for i := range 40_000 { // some ten blocks that do not compress
			id := fmt.Sprintf("%032x", random.Uint64())
			if !yield(id, fmt.Sprintf(`{"id":"%s","n":%d,"x":"%016x%016x"}`, id, i, random.Uint64(), random.Uint64())) {
				return
			}
		}
	})
	rec, err := s.Latest(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "objects", rec.Snapshot.Digest.String()[:2], rec.Snapshot.Digest.String())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	h := newPublisher(t, s, nil).Handler()
	for form, want := range map[string]string{"publish": publisher.IncompleteLine, "entries": `{"problem":{`} {
		var body string
		func() {
			rec := httptest.NewRecorder()
			defer func() {
				if r := recover(); r != http.ErrAbortHandler {
					t.Errorf("the answer ended with %v, want it cut", r)
				}
				body = rec.Body.String()
			}()
			h.ServeHTTP(rec, httptest.NewRequest("GET", datasetURL+"/records:export?form="+form, nil))
		}()
		lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
		last := lines[len(lines)-1]
		if len(lines) < 1000 || !strings.HasPrefix(last, want) || !strings.Contains(last, rec.Snapshot.Digest.String()) || !strings.Contains(last, "version 1 of dataset prices") {
			t.Errorf("%s: %d lines, the last is %s", form, len(lines), last)
		}
		if form == "publish" { // no publish takes the part
			answer := send(h, "POST", "/v1/datasets/other/versions?key=id", body)
			wantProblem(t, answer, 400, "bad-input")
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h = newPublisher(t, s, nil).Handler()
	for _, route := range []string{"/records/x", "/records:export", "/keys", "/history/x"} {
		if p := wantProblem(t, send(h, "GET", datasetURL+route, ""), 500, "lost-object"); !strings.Contains(p.Detail, path) || p.Dataset != "prices" {
			t.Errorf("%s: %+v", route, p)
		}
	}
	if rec := send(h, "GET", datasetURL+"/size", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
