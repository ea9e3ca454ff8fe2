package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/publish"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/server"
)

const find = "/v1/datasets/cities/records?"

// index builds the indexes of the table that the source serves of a dataset.
func (s *source) index(t testing.TB, name string, texts ...string) {
	t.Helper()
	var specs []index.Spec
	for _, text := range texts {
		spec, err := index.ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec)
	}
	compiled, err := index.Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	set, err := compiled.Build(t.Context(), s.table(name), dataset.VersionID{byte(s.table(name).Version())})
	if err != nil {
		t.Fatal(err)
	}
	s.indexed[name].Store(set)
}

// page is an answer to a find.
type page struct {
	Dataset string
	Version uint64
	ID      string
	Cursor  string
	Records []struct {
		Key   string
		Value json.RawMessage
	}
}

// get answers a find, and fails the test if it is refused.
func getPage(t *testing.T, h http.Handler, query string) (p page, keys []string) {
	t.Helper()
	rec := send(h, "GET", find+query, "")
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code != 200 {
		t.Fatalf("%s: %d %s, %v", query, rec.Code, rec.Body, err)
	}
	if got := rec.Header().Get("Freshet-Version"); got != fmt.Sprint(p.Version) || rec.Header().Get("Freshet-Version-Id") != p.ID || p.Dataset != "cities" {
		t.Errorf("%s: the headers are %v", query, rec.Header())
	}
	for _, r := range p.Records {
		keys = append(keys, r.Key)
	}
	return p, keys
}

func newFinder(t *testing.T) (*source, http.Handler) {
	t.Helper()
	s := newSource("cities", "prices")
	s.serve(t, "cities", 7, map[string]string{
		"zrh": `{"country":"CH","name":"Zürich","pop":400000,"net":"10.0.0.0/8","in":{"code":"1"}}`,
		"bsl": `{"country":"CH","name":"Basel","pop":170000,"net":"10.1.0.0/16","in":{"code":1}}`,
		"sel": `{"country":"KR","name":"Seoul","pop":9.6e6,"net":"2001:db8::/32","limit":5}`,
		"sej": `{"country":"KR","name":"Sejong","pop":390000,"net":"10.1.0.0/16"}`,
	})
	texts := []string{"country", "name^", "pop^", "net/ip", "in.code^", "limit"}
	s.index(t, "cities", texts...)
	cfg := config()
	for _, text := range texts {
		cfg.Indexes = append(cfg.Indexes, "cities:"+text)
	}
	return s, newServerWith(t, cfg, s).Handler()
}

func TestFind(t *testing.T) {
	_, h := newFinder(t)
	for query, want := range map[string]string{
		"country=KR":                      "sej sel",
		"country.eq=KR":                   "sej sel",
		"country=DE":                      "",
		"name=Z%C3%BCrich":                "zrh",
		"name.prefix=Se":                  "sej sel",
		"name.prefix=":                    "bsl sej sel zrh",
		"pop.min=390000":                  "sej zrh sel",
		"pop.min=390000&pop.max=400000.0": "sej zrh",
		"pop.max=200000":                  "bsl",
		"pop=9600000":                     "sel",
		"ip=10.200.0.1":                   "zrh",
		"ip=10.1.2.3":                     "bsl sej",
		"ip=::ffff:10.1.2.3":              "bsl sej",
		"net.ip=2001:db8::1":              "sel",
		"net=10.200.0.1":                  "zrh",
		"ip=192.0.2.1":                    "",
		"ip=10.1.2.3&country=KR":          "sej",
		"country=KR&name.prefix=Seo":      "sel",
		"country=CH&pop.min=390000":       "zrh",
		"in.code=1":                       "bsl zrh",
		"limit.eq=5":                      "sel",
	} {
		p, keys := getPage(t, h, query)
		if got := strings.Join(keys, " "); got != want || p.Version != 7 || p.Cursor != "" {
			t.Errorf("%s: found %q with the cursor %q, want %q", query, got, p.Cursor, want)
		}
	}
	rec := send(h, "GET", find+"country=KR&limit=1", "")
	const value = `{"country":"KR","name":"Sejong","pop":390000,"net":"10.1.0.0/16"}`
	want := `{"dataset":"cities","version":7,"id":"0700000000000000000000000000000000000000","records":[{"key":"sej","value":` + value + `}],"cursor":"`
	if !strings.HasPrefix(rec.Body.String(), want) || rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v %s, want %s", rec.Header(), rec.Body, want)
	}
}

// A find with a token answers from indexes that have the version of the token, also while they are behind the table. It waits no longer than it
// says, for both together.
func TestFindAtLeast(t *testing.T) {
	s, h := newFinder(t)
	old := s.indexed["cities"].Load()
	s.serve(t, "cities", 8, map[string]string{"pus": `{"country":"KR"}`})
	s.index(t, "cities", "country")
	current := s.indexed["cities"].Swap(old)
	before, after := s.table("cities"), tableOf(t, 9, map[string]string{"pus": `{"country":"KR"}`})
	for way, name := range ways {
		get := func(token, wait string) *httptest.ResponseRecorder {
			query, header := name("", token, wait)
			return send(h, "GET", strings.TrimSuffix(find+strings.TrimPrefix(query, "?")+"&country=KR", "&"), "", header...)
		}
		s.indexed["cities"].Store(old)
		rec := get(tokenOf(8), "1ms")
		if wantProblem(t, rec, 503, "not-yet"); !strings.Contains(rec.Body.String(), "version 7 (070000000000) is served") {
			t.Errorf("%s: %s", way, rec.Body)
		}
		if rec := get(tokenOf(7), "0"); rec.Code != 200 || rec.Header().Get("Freshet-Version") != "7" || rec.Header().Get("Freshet-State") != "fresh" {
			t.Errorf("%s: %d %v", way, rec.Code, rec.Header())
		}
		s.indexed["cities"].Store(current)
		if rec := get(tokenOf(8), "0"); rec.Code != 200 || rec.Header().Get("Freshet-Version") != "8" || !strings.Contains(rec.Body.String(), `"pus"`) {
			t.Errorf("%s: %d %s", way, rec.Code, rec.Body)
		}
		wantProblem(t, get(otherToken(8), "0"), 412, "other-history")
		wantProblem(t, get("cities/8", "0"), 400, "bad-token")
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSource("cities", "prices") // its channel is of the bubble
		s.show("cities", before)
		s.indexed["cities"].Store(old)
		cfg := config()
		cfg.Indexes = settings.List{"cities:country"}
		h := newServerWith(t, cfg, s).Handler()
		time.AfterFunc(400*time.Millisecond, func() { s.show("cities", after) })
		start := time.Now()
		rec := send(h, "GET", find+"country=KR&wait=1s&at_least="+tokenOf(9), "")
		if wantProblem(t, rec, 503, "not-yet"); time.Since(start) != time.Second {
			t.Errorf("it waited %s", time.Since(start))
		}
	})
}

// Pages follow one another across versions, also if the last record of a page is gone.
func TestFindInPages(t *testing.T) {
	s := newSource("cities", "prices")
	all := make(map[string]string)
	for i := range 12 {
		all[fmt.Sprintf("k%02d", i)] = fmt.Sprintf(`{"n":%d}`, i)
	}
	s.serve(t, "cities", 1, all)
	s.index(t, "cities", "n^")
	cfg := config()
	cfg.Indexes = settings.List{"cities:n^"}
	h := newServerWith(t, cfg, s).Handler()
	p, keys := getPage(t, h, "n.min=3&limit=3")
	if !slices.Equal(keys, []string{"k03", "k04", "k05"}) || p.Cursor == "" {
		t.Fatalf("%q, cursor %q", keys, p.Cursor)
	}
	delete(all, "k05")
	all["new"] = `{"n":5.5}`
	s.serve(t, "cities", 2, all)
	s.index(t, "cities", "n^")
	var got []string
	for p.Cursor != "" {
		p, keys = getPage(t, h, "n.min=3&limit=5&cursor="+url.QueryEscape(p.Cursor))
		if got = append(got, keys...); p.Version != 2 {
			t.Errorf("version %d", p.Version)
		}
	}
	if want := []string{"new", "k06", "k07", "k08", "k09", "k10", "k11"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// A page that checks further conditions reads a bounded number of records.
func TestFindReadsABoundedNumber(t *testing.T) {
	s := newSource("cities", "prices")
	all := make(map[string]string)
	for i := range 5000 {
		all[fmt.Sprintf("k%04d", i)] = fmt.Sprintf(`{"a":1,"b":%d}`, i/4999)
	}
	all["other"] = `{"a":2,"b":1}`
	s.serve(t, "cities", 1, all)
	s.index(t, "cities", "a", "b")
	cfg := config()
	cfg.Indexes = settings.List{"cities:a", "cities:b"}
	h := newServerWith(t, cfg, s).Handler()
	if _, keys := getPage(t, h, "a=1&b=1"); !slices.Equal(keys, []string{"k4999"}) {
		t.Errorf("found %q", keys)
	}
	var got []string
	pages := 0
	for p := (page{Cursor: ""}); pages == 0 || p.Cursor != ""; pages++ {
		var keys []string
		p, keys = getPage(t, h, "a=1&b=0&limit=5&cursor="+p.Cursor)
		if got = append(got, keys...); len(got) >= 20 {
			break
		}
	}
	if len(got) != 20 || pages != 3 {
		t.Errorf("found %d records in %d pages", len(got), pages)
	}
}

func TestFindRefusals(t *testing.T) {
	s, h := newFinder(t)
	for query, want := range map[string]string{
		"":                                  "400 no-condition",
		"limit=2":                           "400 no-condition",
		"mayor=x":                           "400 no-index",
		"name.suffix=x":                     "400 no-index",
		"contry.min=x":                      "400 no-index (did you mean country?)",
		"limt=2":                            "400 no-index (did you mean limit?)",
		"country.prefix=K":                  "400 wrong-index",
		"country.min=K":                     "400 wrong-index",
		"country.ip=10.0.0.1":               "400 wrong-index",
		"net.prefix=10":                     "400 wrong-index",
		"ip=10":                             "400 bad-parameter",
		"country=KR&limit=0":                "400 bad-parameter",
		"country=KR&limit=6":                "400 bad-parameter",
		"country=KR&country=CH":             "400 bad-parameter",
		"country=KR;name=x":                 "400 bad-parameter",
		"country=%zz":                       "400 bad-parameter",
		"country=KR&cursor=x":               "400 bad-cursor",
		"country=KR&cursor=B2NvdW50cnnAS1I": "400 bad-cursor",
	} {
		want, hint, _ := strings.Cut(want, " (")
		var status int
		var kind string
		if _, err := fmt.Sscanf(want, "%d %s", &status, &kind); err != nil {
			t.Fatal(err)
		}
		doc := wantProblem(t, send(h, "GET", find+query, ""), status, kind)
		if text := doc["detail"].(string); strings.HasSuffix(kind, "index") && (!strings.Contains(text, hint) || !strings.Contains(text, "country, name^, pop^, net/ip") || !strings.Contains(text, "FRESHET_INDEXES=cities:MEMBER")) {
			t.Errorf("%s: %s", query, text)
		}
	}
	p, _ := getPage(t, h, "country=KR&limit=1")
	wantProblem(t, send(h, "GET", find+"country=CH&cursor="+p.Cursor, ""), 400, "bad-cursor")
	wantProblem(t, send(h, "GET", find+"name.prefix=S&cursor="+p.Cursor, ""), 400, "bad-cursor")
	wantProblem(t, send(h, "GET", "/v1/datasets/other/records?a=1", ""), 404, "unknown-dataset")
	wantProblem(t, send(h, "GET", "/v1/datasets/prices/records?a=1", ""), 503, "no-version-yet")
	wantProblem(t, send(h, "POST", "/v1/datasets/prices/records?a=1", ""), 405, "method-not-allowed")
	s.serve(t, "prices", 1, map[string]string{"a": `{}`})
	doc := wantProblem(t, send(h, "GET", "/v1/datasets/prices/records?a=1", ""), 400, "no-index")
	if text := doc["detail"].(string); !strings.Contains(text, "dataset prices has no index; FRESHET_INDEXES=prices:MEMBER declares one") {
		t.Error(text)
	}
}

// Until the first indexes of a dataset are built, the instance is not ready, and says why.
func TestReadyWaitsForIndexes(t *testing.T) {
	s := newSource("cities")
	cfg := config()
	cfg.Indexes = settings.List{"cities:a"}
	h := newServerWith(t, cfg, s).Handler()
	s.serve(t, "cities", 1, map[string]string{"a": `{"a":1}`})
	rec := send(h, "GET", find+"a=1", "")
	if wantProblem(t, rec, 503, "indexes-building"); rec.Header().Get("Retry-After") == "" {
		t.Errorf("%v", rec.Header())
	}
	if rec := send(h, "GET", "/readyz", ""); rec.Code != 503 || !strings.Contains(rec.Body.String(), "the indexes (FRESHET_INDEXES) are being built of: cities") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	s.index(t, "cities", "a")
	if rec := send(h, "GET", "/readyz", ""); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if _, keys := getPage(t, h, "a=1"); !slices.Equal(keys, []string{"a"}) {
		t.Errorf("found %q", keys)
	}
}

func TestIndexSettingsAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"country":            `FRESHET_INDEXES: unusable index "country": want DATASET:MEMBER`,
		"cities:a..b":        `FRESHET_INDEXES: dataset cities: unusable index "a..b"`,
		"towns:country":      "FRESHET_INDEXES: dataset towns is not in FRESHET_DATASETS, which has cities, prices",
		"cities:a^,cities:a": `FRESHET_INDEXES: dataset cities: unusable index: "a^" and "a" are on the same member`,
	} {
		cfg := config()
		cfg.Indexes = strings.Split(text, ",")
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// A server with FRESHET_INDEXES answers from them, follows a publish, and shows them in its status and metrics.
func TestFindOfAServer(t *testing.T) {
	nats, s, publisher := newPipeline(t)
	give := func(text string) {
		t.Helper()
		if _, err := publisher.Publish(t.Context(), "ranges", publish.Input{Body: strings.NewReader(text), Key: "id"}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := server.Config{
		Listen: "127.0.0.1:0", Datasets: settings.List{"ranges"}, NatsURL: settings.URL(nats.URL), Relays: settings.List{relayOf(t, s).URL},
		StopGrace: time.Second, ConfirmAfter: time.Millisecond, StallTimeout: 30 * time.Second, BatchKeys: 10, BatchBytes: dataset.MaxValueBytes,
		Indexes:  settings.List{"ranges:first..last/ip", "ranges:owner"},
		MaxWaits: 1, ScanTime: time.Minute, ScanMemory: 1 << 20, FeedStall: time.Second, FeedBehind: time.Second,
	}
	i := run(t, cfg)
	defer func() { i.stop() }()
	give(`{"id":"a","first":"10.0.0.0","last":"10.0.0.9","owner":"x"}` + "\n" + `{"id":"b","first":"10.0.0.5","last":"10.0.0.6","owner":"y"}` + "\n")
	i.until("/v1/datasets/ranges/records?ip=10.0.0.5", http.StatusOK, `"version":1,`)
	i.until("/v1/datasets/ranges/records?ip=10.0.0.5", http.StatusOK, `"records":[{"key":"b",`)
	give(`{"id":"a","first":"10.0.0.0","last":"10.0.0.9","owner":"x"}` + "\n" + `{"id":"c","first":"no address","last":"10.0.0.6"}` + "\n")
	i.until("/v1/datasets/ranges/records?ip=10.0.0.5", http.StatusOK, `"records":[{"key":"a",`)
	i.until("/readyz", http.StatusOK, "")
	i.until("/v1/status", http.StatusOK, `secondary indexes of version 2: index first..last/ip lacks 1 records, no address, such as \"c\"`)
	i.until("/metrics", http.StatusOK, `freshet_index_records{dataset="ranges",index="owner"} 1`)
	i.until("/metrics", http.StatusOK, `freshet_index_lacking_records{dataset="ranges",index="owner",reason="missing"} 1`)
}
