package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const changes = "/v1/datasets/cities/changes"

// feedLines returns a function that reads the next line of a response with one of the texts.
func feedLines(t *testing.T, base, path string) func(text string) string {
	t.Helper()
	res, err := http.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	in := bufio.NewScanner(res.Body)
	return func(text string) string {
		t.Helper()
		for in.Scan() {
			if strings.Contains(in.Text(), text) {
				return in.Text()
			}
		}
		t.Fatalf("the feed ended without %s: %v", text, in.Err())
		return ""
	}
}

// A feed tells versions as they are served; a server that stops ends it at once.
func TestFeed(t *testing.T) {
	s := newSource("cities", "prices")
	cfg := config()
	cfg.StopGrace = time.Minute
	srv := newServerWith(t, cfg, s)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	base := "http://" + srv.Addr()
	next := feedLines(t, base, changes+"?from=0&records=true")
	s.serve(t, "cities", 1, map[string]string{"a": `{"n":1}`})
	next(`"reset"`)
	next(`{"event":"change","op":"added","key":"a","value":{"n":1}}`)
	next(`"event":"version","dataset":"cities","version":1,`)
	s.serve(t, "cities", 2, map[string]string{"b": "\xff"})
	both := next(`"change"`) + next(`"change"`)
	if !strings.Contains(both, `"op":"removed","key":"a"}`) || !strings.Contains(both, `"op":"added","key":"b","value_base64":"/w=="}`) {
		t.Error(both)
	}
	last := next(`"version":2,`)
	if !strings.Contains(last, fmt.Sprintf(`"position":"2@02%038d"`, 0)) {
		t.Error(last)
	}
	stop()
	next(`"end"`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestFeedRefusals(t *testing.T) {
	cfg := config()
	cfg.Feeds = 0
	h := newServerWith(t, cfg, newSource("cities")).Handler()
	wantProblem(t, send(h, "GET", "/v1/datasets/other/changes", ""), 404, "unknown-dataset")
	wantProblem(t, send(h, "GET", changes+"?form=0", ""), 400, "bad-parameter")
	wantProblem(t, send(h, "POST", changes, ""), 405, "method-not-allowed")
	if rec := send(h, "GET", changes, ""); wantProblem(t, rec, 503, "too-many-feeds")["limit"] != 0.0 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%v", rec.Header())
	}
	if rec := send(newServer(t, newSource("cities")).Handler(), "HEAD", changes, "", "Accept", "text/event-stream"); rec.Code != 200 || rec.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}
