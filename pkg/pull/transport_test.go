package pull_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
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

// A given transport sends each request, asks for no compression, and is not closed.
func TestGivenTransport(t *testing.T) {
	var arrived atomic.Int64
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%s has the Accept-Encoding %q", r.URL.Path, got)
		}
		http.NotFound(w, r)
	}))
	defer relay.Close()
	own := &transport{RoundTripper: relay.Client().Transport}
	c, err := pull.New(pull.Config{Relays: []string{relay.URL}, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	accept := func(pull.Newest, bool) error { return nil }
	for name, request := range map[string]func(ctx context.Context) error{
		"Latest":        func(ctx context.Context) error { _, err := c.Latest(ctx, "prices"); return err },
		"LatestInOrder": func(ctx context.Context) error { return c.LatestInOrder(ctx, "prices", accept) },
		"LatestOfAll": func(ctx context.Context) error {
			_, _, err := c.LatestOfAll(ctx, "prices", dataset.StoreID{})
			return err
		},
		"StoreInOrder": func(ctx context.Context) error { return c.StoreInOrder(ctx, accept) },
		"Object":       func(ctx context.Context) error { _, err := c.Object(ctx, dataset.Object{Bytes: 1}, nil); return err },
		"Range":        func(ctx context.Context) error { _, err := c.Range(ctx, dataset.Digest{}, 0, 1); return err },
		"Size":         func(ctx context.Context) error { _, err := c.Size(ctx, dataset.Digest{}); return err },
		"Recheck":      func(ctx context.Context) error { return c.Recheck(ctx, dataset.Digest{}) },
	} {
		sent, before := own.requests.Load(), arrived.Load()
		_ = request(t.Context()) // the relay has nothing
		if n := own.requests.Load() - sent; n == 0 || n != arrived.Load()-before {
			t.Errorf("%s: the transport sent %d requests, and %d arrived", name, n, arrived.Load()-before)
		}
	}
	c.Close()
	if n := own.closes.Load(); n != 0 {
		t.Errorf("Close closes the transport's connections %d times", n)
	}
}

// A caller's transport keeps its proxy and its settings.
func TestGivenTransportKeepsItsProxy(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		http.NotFound(w, r)
	}))
	defer proxy.Close()
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	own := &http.Transport{Proxy: http.ProxyURL(proxyURL), MaxConnsPerHost: 1}
	defer own.CloseIdleConnections()
	c, err := pull.New(pull.Config{Relays: []string{"http://relay.invalid"}, Transport: own})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Latest(t.Context(), "prices"); !errors.Is(err, pull.ErrNotFound) {
		t.Errorf("the error is %v", err)
	}
	if got := asked.Load(); got != "http://relay.invalid/v1/datasets/prices/latest" {
		t.Errorf("the proxy received a request for %v", got)
	}
	if own.MaxConnsPerHost != 1 || own.ResponseHeaderTimeout != 0 {
		t.Error("the client changed the caller's transport")
	}
}

// A transport that panics does not keep its requests' places in the lane.
func TestTransportThatPanics(t *testing.T) {
	l := lane.New(lane.Config{Name: "io", Width: 1})
	c, err := pull.New(pull.Config{Relays: []string{"http://relay.invalid"}, Transport: panicking{}, Lane: l})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 2 {
		if _, err := c.Size(ctx, dataset.Digest{}); err == nil || !strings.Contains(err.Error(), "broken transport") {
			t.Errorf("the error is %v", err)
		}
	}
	if s := l.Stats(); s.Own.Running != 0 {
		t.Errorf("%d requests have a place", s.Own.Running)
	}
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("broken transport") }
