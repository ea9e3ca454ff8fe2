package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"freshet.dev/services/internal/web"
)

func TestBuildInfo(t *testing.T) {
	families, err := web.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "freshet_build_info" {
			continue
		}
		labels := map[string]string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if len(labels) != 3 || labels["version"] == "" || labels["revision"] == "" || labels["goversion"] != runtime.Version() || f.GetMetric()[0].GetGauge().GetValue() != 1 {
			t.Errorf("the metric is %v", f)
		}
		return
	}
	t.Error("there is no freshet_build_info")
}

// The metrics have a length, and are compressed for a client that takes that.
func TestMetricsHaveALength(t *testing.T) {
	mux, _ := newMux(t, web.AlwaysReady)
	for encoding, want := range map[string]string{"": "", "gzip": "gzip"} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept-Encoding", encoding)
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, req)
		h, n := rec.Header(), rec.Body.Len()
		if rec.Code != http.StatusOK || n == 0 || h.Get("Content-Length") != fmt.Sprint(n) || h.Get("Content-Encoding") != want || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
			t.Errorf("%q: %d with %d bytes, %v", encoding, rec.Code, n, h)
		}
	}
}

// A lookup's time is known to a factor of two between 10 microseconds and 10 milliseconds.
func TestBucketsResolveLookups(t *testing.T) {
	mux, _ := newMux(t, web.AlwaysReady)
	get(t, mux, "GET", "/healthz")
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	var bounds []float64
	for line := range strings.Lines(rec.Body.String()) {
		var bound float64
		if _, text, ok := strings.Cut(line, `freshet_http_request_seconds_bucket{route="GET /healthz",le="`); ok {
			if _, err := fmt.Sscanf(text, "%g", &bound); err == nil {
				bounds = append(bounds, bound)
			}
		}
	}
	last := 0.0
	for _, b := range bounds {
		if last >= 10e-6 && last < 10e-3 && b > 2.01*last {
			t.Errorf("no bucket ends between %g and %g", last, b)
		}
		last = b
	}
	if len(bounds) == 0 || bounds[0] > 10e-6 || bounds[len(bounds)-2] < 100 {
		t.Errorf("the buckets are %v", bounds)
	}
}
