package pull_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/pull"
)

// transport is a caller's own, which counts requests and calls of CloseIdleConnections.
type transport struct {
	http.RoundTripper
	requests, closes atomic.Int64
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	return t.RoundTripper.RoundTrip(r)
}

func (t *transport) CloseIdleConnections() { t.closes.Add(1) }

// A given transport sends the requests, asks for no compression, and is not closed.
func TestGivenTransport(t *testing.T) {
	var encoding atomic.Value
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoding.Store(r.Header.Get("Accept-Encoding"))
		http.NotFound(w, r)
	}))
	defer relay.Close()
	own := &transport{RoundTripper: relay.Client().Transport}
	c, err := pull.New(pull.Config{Relays: []string{relay.URL}, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Latest(t.Context(), "prices"); err == nil {
		t.Error("a relay without versions has one")
	}
	c.Close()
	if own.requests.Load() != 1 || own.closes.Load() != 0 || encoding.Load() != "identity" {
		t.Errorf("%d requests, %d closes, Accept-Encoding %v", own.requests.Load(), own.closes.Load(), encoding.Load())
	}
}
