package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/services/internal/web"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logBuffer is a log that a test reads while a server writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newMux(t *testing.T, ready web.ReadyFunc) (*web.Mux, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	return web.NewMux(slog.New(slog.NewJSONHandler(log, nil)), web.NewRegistry(), ready), log
}

func get(t *testing.T, h http.Handler, method, path string) (*http.Response, map[string]any) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	var doc map[string]any
	if strings.HasSuffix(rec.Header().Get("Content-Type"), "json") {
		if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
		}
	}
	return rec.Result(), doc
}

func TestProblems(t *testing.T) {
	mux, log := newMux(t, web.AlwaysReady)
	mux.Handle("GET /v1/things/{name}", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Etag", `"stale"`)
		switch r.PathValue("name") {
		case "typed":
			return fmt.Errorf("wrapped: %w", web.Refuse(http.StatusConflict, "taken", "it is taken").With("line", 7))
		case "busy":
			return web.Unavailable("busy", 4, errors.New("secret cause"), "come back")
		case "plain":
			return errors.New("secret cause")
		case "panic":
			panic("secret cause")
		}
		return web.WriteJSON(w, http.StatusOK, map[string]any{"ok": true})
	})
	mux.Handle("POST /v1/things/{name}", func(http.ResponseWriter, *http.Request) error { return nil })
	for _, c := range []struct {
		method, path string
		status       int
		want         map[string]any
	}{
		{"GET", "/v1/things/typed", 409, map[string]any{"type": "https://freshet.dev/problems/taken", "title": "Conflict", "status": 409.0, "detail": "it is taken", "line": 7.0}},
		{"GET", "/v1/things/plain", 500, map[string]any{"type": "https://freshet.dev/problems/internal", "title": "Internal Server Error", "status": 500.0, "detail": "the service failed; its log says why"}},
		{"GET", "/v1/things/panic", 500, map[string]any{"type": "https://freshet.dev/problems/internal", "title": "Internal Server Error", "status": 500.0, "detail": "the service failed; its log says why"}},
		{"GET", "/v1/other", 404, map[string]any{"type": "https://freshet.dev/problems/no-such-route", "title": "Not Found", "status": 404.0, "detail": `there is no route "/v1/other"`}},
		{"DELETE", "/v1/things/x", 405, map[string]any{"type": "https://freshet.dev/problems/method-not-allowed", "title": "Method Not Allowed", "status": 405.0, "detail": `"/v1/things/x" takes GET, HEAD, POST, not "DELETE"`}},
	} {
		res, doc := get(t, mux, c.method, c.path)
		if res.StatusCode != c.status || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Etag") != "" {
			t.Errorf("%s %s: %d %v", c.method, c.path, res.StatusCode, res.Header)
		}
		if fmt.Sprint(doc) != fmt.Sprint(c.want) {
			t.Errorf("%s %s: got %v, want %v", c.method, c.path, doc, c.want)
		}
		if c.status == 405 && res.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("Allow is %q", res.Header.Get("Allow"))
		}
	}
	res, doc := get(t, mux, "GET", "/v1/things/busy")
	if after := res.Header.Get("Retry-After"); res.StatusCode != 503 || after < "4" || after > "6" || strings.Contains(fmt.Sprint(doc), "secret") {
		t.Errorf("%d %v, Retry-After %q", res.StatusCode, doc, after)
	}
	for _, want := range []string{`"level":"ERROR"`, "web_test.go", `"error":"secret cause"`, `"error":"503 busy: come back: secret cause"`, `"route":"GET /v1/things/{name}"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, log)
		}
	}
}

// A path that net/http's mux answers itself, without a document, has a problem document. A redirect keeps the query.
func TestUncleanPaths(t *testing.T) {
	mux, _ := newMux(t, web.AlwaysReady)
	mux.Handle("GET /v1/things/{name}", func(w http.ResponseWriter, r *http.Request) error {
		return web.WriteJSON(w, http.StatusOK, map[string]any{"name": r.PathValue("name")})
	})
	for target, want := range map[string]struct {
		status   int
		location string
	}{
		"*":                        {400, ""},
		"/v1//things/a?b=c":        {307, "/v1/things/a?b=c"},
		"/v1/x/../things/a%2Fb":    {307, "/v1/things/a%2Fb"},
		"//other.example/v1/./x":   {307, "/other.example/v1/x"},
		"/v1//x/":                  {307, "/v1/x/"},
		"//":                       {307, "/"},
		"http://other.example":     {400, ""},
		"/v1/things/.hidden":       {200, ""},
		"/v1/things/a%2F%2Fb%2F..": {200, ""},
	} {
		req := httptest.NewRequest("GET", "/", nil)
		u, err := url.ParseRequestURI(target)
		if target == "*" {
			u, err = &url.URL{Path: "*"}, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(target, "//") { // as net/http reads it
			u = &url.URL{Path: target}
		}
		req.RequestURI, req.URL = target, u
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, req)
		problem := rec.Header().Get("Content-Type") == web.ProblemType
		if rec.Code != want.status || rec.Header().Get("Location") != want.location || problem != (want.status != 200) {
			t.Errorf("%s: %d, %v", target, rec.Code, rec.Header())
		}
	}
}

// A handler that has begun its response must not have a problem, or nothing, taken for the rest of it.
// A path that lacks what a route's {...} stands for has no route, unless another route has it. [http.ServeMux] would redirect with a page.
func TestPathsWithoutTheRest(t *testing.T) {
	m, _ := newMux(t, web.AlwaysReady)
	answer := func(text string) web.Handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			return web.WriteJSON(w, http.StatusOK, map[string]string{"is": text + r.PathValue("key")})
		}
	}
	m.Handle("GET /v1/datasets/{name}/records/{key...}", answer("record "))
	m.Handle("GET /v1/datasets/{name}/history/{key...}", answer("history "))
	m.Handle("GET /v1/datasets/{name}/history", answer("all"))
	for request, want := range map[string]string{
		"GET /v1/datasets/a/records":         "404 no-such-route",
		"HEAD /v1/datasets/a/records":        "404 no-such-route",
		"GET /v1/datasets/a/records?x=1":     "404 no-such-route",
		"POST /v1/datasets/a/records":        "404 no-such-route",
		"GET /records":                       "404 no-such-route",
		"POST /v1/datasets/a/records/b":      "405 method-not-allowed",
		"POST /v1/datasets/a/history":        "405 method-not-allowed",
		"GET /v1/datasets/a/records/records": "200 ",
		"GET /v1/datasets/a/records/":        "200 ",
		"GET /v1/datasets/a/history":         "200 ",
	} {
		method, path, _ := strings.Cut(request, " ")
		res, _ := get(t, m, method, path)
		if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get(web.ErrorHeader)); got != want || !strings.HasSuffix(res.Header.Get("Content-Type"), "json") {
			t.Errorf("%s: %q, want %q; %v", request, got, want, res.Header)
		}
	}
}

func TestFailureInMidResponseClosesTheConnection(t *testing.T) {
	mux, _ := newMux(t, web.AlwaysReady)
	fail := map[string]func() error{
		"error": func() error { return errors.New("broken") },
		"panic": func() error { panic("broken") },
		"abort": func() error { panic(http.ErrAbortHandler) },
	}
	mux.Handle("GET /{how}", func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.WriteString(w, "the first half")
		_ = http.NewResponseController(w).Flush()
		return fail[r.PathValue("how")]()
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for how := range fail {
		res, err := srv.Client().Get(srv.URL + "/" + how)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%s: the response ended as if whole, with %q", how, b)
		}
		res.Body.Close()
	}
}

func TestHealth(t *testing.T) {
	var missing error
	mux, log := newMux(t, func(_ context.Context, verbose bool) (map[string]any, error) {
		return map[string]any{"waiting": []string{"cities"}}, missing
	})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if res, _ := get(t, mux, "GET", path); res.StatusCode != 200 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	missing = errors.New("no version yet of: cities")
	res, doc := get(t, mux, "GET", "/readyz")
	if res.StatusCode != 503 || fmt.Sprint(doc["waiting"]) != "[cities]" || doc["detail"] != "no version yet of: cities" {
		t.Errorf("%d %v", res.StatusCode, doc)
	}
	if log.String() != "" {
		t.Errorf("probes are logged:\n%s", log)
	}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`freshet_http_requests_total{route="GET /readyz",status="503"} 1`, `freshet_http_request_seconds_count{route="GET /healthz"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
}

func TestReadJSON(t *testing.T) {
	for body, want := range map[string]int{
		`{"keys":["a"]}`: 200, `{"keys":["a"]} `: 200, `{"keys":["a"]}{}`: 400, `{"kyes":[]}`: 400, ``: 400, `{"keys":`: 400,
		`{"keys":["` + strings.Repeat("a", 100) + `"]}`: 413,
	} {
		mux, _ := newMux(t, web.AlwaysReady)
		mux.Handle("POST /", func(w http.ResponseWriter, r *http.Request) error {
			var v struct {
				Keys []string `json:"keys"`
			}
			if err := web.ReadJSON(w, r, 64, &v); err != nil {
				return err
			}
			return web.WriteJSON(w, 200, v)
		})
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if rec.Code != want {
			t.Errorf("%q: %d %s, want %d", body, rec.Code, rec.Body, want)
		}
	}
}

// A refusal names the member of the document and no type of Go.
func TestReadJSONNamesTheMember(t *testing.T) {
	for body, want := range map[string]string{
		`["a"]`:          "the document is an array, which is of the wrong type",
		`{"keys":"a"}`:   `the member "/keys" is a string, which is of the wrong type`,
		`{"keys":[1]}`:   `the member "/keys/0" is a number, which is of the wrong type`,
		`{"kyes":["a"]}`: `the member "/kyes" is unknown`,
	} {
		var v struct {
			Keys []string `json:"keys"`
		}
		err := web.ReadJSON(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)), 64, &v)
		if err == nil || !strings.HasSuffix(err.Error(), "the body is not the expected JSON document: "+want) {
			t.Errorf("%s: the error is %v, want %s", body, err, want)
		}
	}
}

func TestMatchesETag(t *testing.T) {
	for _, c := range []struct {
		header string
		want   bool
	}{
		{`"a"`, true},
		{`W/"a"`, true},
		{`"b", "a"`, true},
		{`"b",W/"a","c"`, true},
		{`*`, true},
		{``, false},
		{`"b"`, false},
		{`a`, false},
		{`"a`, false},
		{`"b", a`, false},
	} {
		if got := web.MatchesETag(c.header, `"a"`); got != c.want {
			t.Errorf("%s: %v", c.header, got)
		}
	}
}

func TestServerStopsGracefully(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	srv := web.NewServer(web.ServerConfig{Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		if r.Context().Err() == nil {
			_, _ = io.WriteString(w, "whole")
		}
	}))
	if srv.Addr() != "" {
		t.Errorf("it has the address %q before it runs", srv.Addr())
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + srv.Addr())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-begun
	stop()
	for { // it must refuse new connections before the old request ends
		c, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			break
		}
		c.Close()
	}
	close(finish)
	if got := <-answer; got != "whole" {
		t.Errorf("the request in progress got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServerCutsWhatOutlivesTheGrace(t *testing.T) {
	begun := make(chan struct{})
	srv := web.NewServer(web.ServerConfig{Listen: "127.0.0.1:0", Grace: time.Millisecond, Log: slog.New(slog.DiscardHandler)}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	failed := make(chan error, 1)
	go func() {
		res, err := http.Get("http://" + srv.Addr())
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	<-begun
	stop()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBusyPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for address, want := range map[string]string{
		ln.Addr().String(): "another program listens on this port; stop it or set FRESHET_LISTEN",
		"127.0.0.1:x":      "set FRESHET_LISTEN to host:port",
	} {
		err := web.NewServer(web.ServerConfig{Listen: address, Log: slog.New(slog.DiscardHandler)}, http.NotFoundHandler()).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
