package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/services/internal/settings"
	"freshet.dev/services/internal/web"
)

// Every answer about a dataset has its state in a header, in every state: values, their absence, and refusals.
func TestStateHeader(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": `{}`})
	s.index(t, "cities", "v")
	cfg := config()
	cfg.Indexes = settings.List{"cities:v"}
	h := newServerWith(t, cfg, s).Handler()
	tag := send(h, "GET", records+"a", "").Header().Get("Etag")
	const batch = "/v1/datasets/cities/records:batchGet"
	for _, state := range fleet.States {
		s.says["cities"] = func(d *fleet.DatasetStatus) { d.State = state }
		s.says["prices"] = s.says["cities"]
		for name, c := range map[string]struct {
			rec    *httptest.ResponseRecorder
			status int
		}{
			"GET":                {send(h, "GET", records+"a", ""), 200},
			"HEAD":               {send(h, "HEAD", records+"a", ""), 200},
			"GET of the value":   {send(h, "GET", records+"a", "", "If-None-Match", tag), 304},
			"GET without value":  {send(h, "GET", records+"b", ""), 404},
			"HEAD without value": {send(h, "HEAD", records+"b", ""), 404},
			"batchGet":           {send(h, "POST", batch, `{"keys":["a","b"]}`), 200},
			"batchGet, refused":  {send(h, "POST", batch, `{"keys":[]}`), 400},
			"of at least":        {send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(3)), 200},
			"of more":            {send(h, "GET", records+"a", "", "Freshet-At-Least", tokenOf(4), "Freshet-Wait", "0"), 503},
			"of another history": {send(h, "GET", records+"a", "", "Freshet-At-Least", otherToken(3)), 412},
			"an unknown name":    {send(h, "GET", records+"a?x=1", ""), 400},
			"a bad token":        {send(h, "GET", records+"a", "", "Freshet-At-Least", "17"), 400},
			"scan":               {send(h, "POST", "/v1/datasets/cities/scan", `{}`), 200},
			"scan, refused":      {send(h, "POST", "/v1/datasets/cities/scan", `{"filter":1}`), 400},
			"find":               {send(h, "GET", find+"v=1", ""), 200},
			"find, refused":      {send(h, "GET", find+"x=1", ""), 400},
			"changes":            {send(h, "HEAD", "/v1/datasets/cities/changes", ""), 200},
			"changes, refused":   {send(h, "GET", "/v1/datasets/cities/changes?x=1", ""), 400},
			"no version":         {send(h, "GET", strings.Replace(records, "cities", "prices", 1)+"a", ""), 503},
		} {
			if got := c.rec.Header().Get("Freshet-State"); c.rec.Code != c.status || got != string(state) {
				t.Errorf("%s: %d, state %q, want %d, %s", name, c.rec.Code, got, c.status, state)
			}
		}
	}
	s.deleted["prices"] = dataset.VersionRecord{Dataset: "prices", Version: 1, Deleted: true}
	s.says["prices"] = func(d *fleet.DatasetStatus) { d.State = fleet.Deleted }
	rec := send(h, "GET", strings.Replace(records, "cities", "prices", 1)+"a", "")
	if wantProblem(t, rec, 404, "deleted"); rec.Header().Get("Freshet-State") != "deleted" {
		t.Errorf("%v", rec.Header())
	}
	if rec := send(h, "GET", "/v1/datasets/other/records/a", ""); rec.Code != 404 || rec.Header()["Freshet-State"] != nil {
		t.Errorf("a dataset that the instance does not have: %d %v", rec.Code, rec.Header())
	}
}

// A client that reads nothing but the header distinguishes an unknown key from an unknown dataset, with GET and HEAD.
func TestUnknownKeyAndDatasetDiffer(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": `{}`})
	srv := httptest.NewServer(newServer(t, s).Handler())
	defer srv.Close()
	for _, method := range []string{"GET", "HEAD"} {
		for path, want := range map[string]string{
			records + "b":                   "404 unknown-key",
			"/v1/datasets/other/records/b":  "404 unknown-dataset",
			"/v1/datasets/prices/records/b": "503 no-version-yet",
			records:                         "400 bad-key",
			records + "a":                   "200 ",
		} {
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := res.Status[:4] + res.Header.Get("Freshet-Error"); got != want {
				t.Errorf("%s %s: %q, want %q", method, path, got, want)
			}
		}
	}
}

// No read is answered by net/http with a page: a path without a route, one that is not clean, and a method that a path does
// not take are problems, for a client that follows no redirect.
func TestReadsAreNotRedirected(t *testing.T) {
	s := newSource("cities", "prices")
	s.serve(t, "cities", 3, map[string]string{"a": `{}`})
	srv := httptest.NewServer(newServer(t, s).Handler())
	defer srv.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for request, want := range map[string]string{
		"GET /v1/datasets/cities/":                   "404 no-such-route",
		"GET /v1/status/":                            "404 no-such-route",
		"GET /v1//status":                            "307 bad-path",
		"GET /v1/../v1/status":                       "307 bad-path",
		"GET /v1/datasets//cities/records/a":         "307 bad-path",
		"PUT /v1/datasets/cities/records/a":          "405 method-not-allowed",
		"DELETE /v1/datasets/cities/records/a":       "405 method-not-allowed",
		"GET /v1/datasets/cities/records:batchGet":   "405 method-not-allowed",
		"POST /v1/datasets/cities/records:batchGet/": "404 no-such-route",
	} {
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Status[:4] + res.Header.Get("Freshet-Error"); got != want || res.Header.Get("Content-Type") != web.ProblemType ||
			strings.HasPrefix(want, "405") && res.Header.Get("Allow") == "" {
			t.Errorf("%s: %q, want %q; %v", request, got, want, res.Header)
		}
	}
}
