package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/scan"
	"freshet.dev/services/freshet/internal/exit"
)

func TestScan(t *testing.T) {
	f := start(t, "cities", "empty")
	f.run(t, "publish", "cities", file(t, "cities.ndjson", `{"id":"a","name":"Seoul","country":"KR","pop":9776000,"geo":{"lat":37.5}}
{"id":"b","name":"Busan","country":"KR","pop":3429000}
{"id":"c","name":"Berne","country":"CH","pop":133883}
{"id":"d","name":"Nowhere"}
`), "--key", "id", "--wait").want(t, exit.OK)

	f.run(t, "scan", "cities", "--filter", `value.country == "KR"`, "--filter", "true").want(t, exit.Usage, "stderr:the flag --filter comes twice")
	f.run(t, "scan", "cities", "--filter", `value.country == "KR" && value.pop > 5000000`, "--select", "name", "--select", "geo.lat").
		want(t, exit.OK, "stdout:"+`{"key":"a","value":{"name":"Seoul","geo.lat":37.5}}`+"\n", "stdout:!Busan",
			"stderr:cities version 1: 1 row of 4 records read, 1 matching", "stderr:left out 1 record with an error; the first is d: filter: no such key: country")
	f.run(t, "scan", "cities", "--prefix", "d", "--select", "n=value.name", "--select", "pop=value.?pop.orValue(0)").
		want(t, exit.OK, "stdout:"+`{"key":"d","value":{"n":"Nowhere","pop":0}}`+"\n", "stderr:!left out")
	f.run(t, "scan", "cities", "--filter", "has(value.country)", "--group-by", "country", "--aggregate", "n=count()", "--aggregate", "sum(value.pop)", "--order=-n").
		want(t, exit.OK, "stdout:"+`{"country":"KR","n":2,"sum(value.pop)":13205000}`+"\n"+`{"country":"CH","n":1,"sum(value.pop)":133883}`+"\n")

	var last scan.Summary
	got := f.run(t, "scan", "cities", "--limit", "3", "--output", "json")
	got.want(t, exit.OK)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 4 || last.Cursor == "" || last.Rows != 3 || got.err != "" {
		t.Fatalf("%+v: %v", got, err)
	}
	rest := f.run(t, "scan", "cities", "--cursor", last.Cursor)
	rest.want(t, exit.OK, "stderr:1 row of ")
	if all := append(lines[:3], strings.TrimSpace(rest.out)); len(slices.Compact(slices.Sorted(slices.Values(all)))) != 4 {
		t.Errorf("%q", all)
	}
	// The remedies of the message about more rows.
	more := f.run(t, "scan", "cities", "--limit", "3")
	more.want(t, exit.OK, "stderr:there may be more rows: --cursor ")
	_, cursor, _ := strings.Cut(more.err, "--cursor ")
	cursor, _, _ = strings.Cut(cursor, " ")
	f.run(t, "scan", "cities", "--cursor", cursor).want(t, exit.OK, "stderr:1 row of ")
	f.run(t, "scan", "cities", "--limit", "0").want(t, exit.OK, "stderr:4 rows of ")

	f.run(t, "scan", "empty").want(t, exit.Failure, "stderr:no version of dataset empty is served here yet")
	f.run(t, "scan", "citys").want(t, exit.NotFound, "stderr:it has cities, empty")
	f.run(t, "publish", "empty", file(t, "e.ndjson", `{"id":"a"}`+"\n"), "--key", "id", "--wait").want(t, exit.OK)
	f.run(t, "scan", "empty", "--cursor", cursor).want(t, exit.NotFound, "stderr:begin again without a cursor")
	f.run(t, "scan", "empty").want(t, exit.OK, "stderr:1 row of ")
}

func TestScanUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--filter, line 1, column 10: ":                 {"--filter", "value.a >"},
		"--group-by.x, line 1, column 1: undeclared":    {"--group-by", "x=valu.a"},
		"--aggregate.value.a: ":                         {"--aggregate", "value.a"},
		"--group-by names \"a\" twice":                  {"--group-by", "a", "--group-by", "a=value.b"},
		"--select takes members or NAME=EXPR, not both": {"--select", "a", "--select", "b=value.b"},
		"--limit: it is -1":                             {"--limit", "-1"},
		"--cursor: \"x\" is no cursor":                  {"--cursor", "x"},
		"not a URL of a server":                         {"--server", "x"},
	} {
		run(t.Context(), nil, "", append([]string{"scan", "cities"}, args...)...).want(t, exit.Usage, "stderr:"+want)
	}
	run(t.Context(), nil, "", "scan", "Cities").want(t, exit.Usage, "stderr:not a dataset name")
	// The remedy for both forms of select.
	run(t.Context(), map[string]string{"FRESHET_SERVER_URL": "http://127.0.0.1:1"}, "", "scan", "cities", "--select", "name=value.name", "--select", "b=value.b").
		want(t, exit.Failure, "stderr:cannot reach the server")
}

// A scan that an instance ends before the last record goes on in other requests, and says where it ended if one of them fails.
func TestScanInParts(t *testing.T) {
	const cursor = "AQwAAAAAAAAAAGE"
	pages := []string{
		`{"key":"a","value":{}}` + "\n" + `{"end":true,"version":3,"scanned":5,"matched":1,"rows":1,"errors":1,"first_error":{"key":"b","member":"filter","reason":"x"},"stopped":"time","cursor":"` + cursor + `"}` + "\n",
		`{"key":"c","value":{}}` + "\n" + `{"end":true,"version":4,"scanned":6,"matched":1,"rows":1,"errors":0,"before":3}` + "\n",
	}
	answered := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answered == len(pages) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"type":"https://freshet.dev/problems/busy","status":503,"detail":"the lane is full"}`))
			return
		}
		var request scan.Request
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || (request.Cursor != "") != (answered > 0) || request.Limit != 9-answered {
			t.Errorf("request %d: %+v, %v", answered, request, err)
		}
		_, _ = w.Write([]byte(pages[answered]))
		answered++
	}))
	defer srv.Close()
	env := map[string]string{"FRESHET_SERVER_URL": srv.URL}
	run(t.Context(), env, "", "scan", "cities", "--limit", "9").want(t, exit.OK, "stdout:"+`{"key":"a","value":{}}`+"\n"+`{"key":"c","value":{}}`+"\n",
		"stderr:cities versions 3 to 4: 2 rows of 11 records read, 2 matching", "stderr:the first is b: filter: x", "stderr:!there may be more")
	answered, pages = 0, pages[:1]
	run(t.Context(), env, "", "scan", "cities", "--limit", "9").want(t, exit.Failure, "stdout:"+`{"key":"a","value":{}}`, "stderr:the lane is full; --cursor "+cursor+" goes on after the rows that are printed")
	answered, pages = 0, []string{`{"key":"a","value":{}}` + "\n"}
	run(t.Context(), env, "", "scan", "cities", "--limit", "9").want(t, exit.Failure, "stderr:ended early")
}
