package subscribe_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/subscribe"
)

// transport is a caller's transport, which counts requests and calls of CloseIdleConnections.
type transport struct {
	http.Transport
	requests, closes atomic.Int64
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	return t.Transport.RoundTrip(r)
}

func (t *transport) CloseIdleConnections() { t.closes.Add(1) }

// ownConn returns a connection that the caller has made.
func (w *world) ownConn(options ...nats.Option) *nats.Conn {
	w.t.Helper()
	nc, err := nats.Connect(w.nats.URL, append([]nats.Option{nats.ReconnectWait(5 * time.Millisecond)}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// Given connections are used, by one subscriber after the other, and are left as they were.
func TestGivenConnections(t *testing.T) {
	w := newWorld(t)
	handler := func(*nats.Conn, *nats.Subscription, error) {}
	nc := w.ownConn(nats.MaxReconnects(-1), nats.ErrorHandler(handler))
	if _, err := nc.RequestWithContext(w.context(), "nobody", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Fatal(err) // the first request makes the connection's subscription to replies
	}
	subscriptions := nc.NumSubscriptions()
	own := &transport{}
	defer own.Transport.CloseIdleConnections()
	book := &logbook{}
	for version := uint64(1); version <= 2; version++ {
		cfg := w.config("prices")
		cfg.NATS, cfg.NATSConn, cfg.Transport, cfg.Log = "", nc, own, book.logger()
		s, err := subscribe.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.publish("prices", version)
		awaitVersion(t, s, "prices", version)
		if nc.NumSubscriptions() <= subscriptions {
			t.Error("the subscriber does not use the connection to NATS")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		await(t, "the subscriptions to end", func() bool { return nc.NumSubscriptions() == subscriptions })
		if !nc.IsConnected() || reflect.ValueOf(nc.ErrorHandler()).Pointer() != reflect.ValueOf(handler).Pointer() {
			t.Errorf("after Close the connection is %s, or has another error handler", nc.Status())
		}
	}
	if own.requests.Load() == 0 || own.closes.Load() != 0 {
		t.Errorf("%d requests by the transport, %d calls of CloseIdleConnections", own.requests.Load(), own.closes.Load())
	}
	if book.has("MaxReconnects") {
		t.Error("a connection that never gives up is warned of")
	}
}

// A second subscriber cannot take over the connection of one that is open, nor harm it by the attempt.
func TestGivenConnectionServesOneSubscriber(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.NATS, cfg.NATSConn = "", w.ownConn(nats.MaxReconnects(-1))
	first := open(t, cfg)
	w.surveyed(1) // NATS's library for services has added to the handler
	handler := reflect.ValueOf(cfg.NATSConn.ErrorHandler()).Pointer()
	second := w.config("rules")
	second.NATS, second.NATSConn = "", cfg.NATSConn
	if _, err := subscribe.Open(t.Context(), second); !errors.Is(err, subscribe.ErrConfig) || !strings.Contains(err.Error(), "NATSConn serves another open Subscriber") {
		t.Errorf("Open with the connection of an open subscriber returns %v", err)
	}
	if reflect.ValueOf(cfg.NATSConn.ErrorHandler()).Pointer() != handler {
		t.Error("the attempt replaced the error handler of the first subscriber")
	}
	w.publish("prices", 1)
	awaitVersion(t, first, "prices", 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, second)
}

// A given connection that is down is in the status, and one that has given up too. The table stays.
func TestGivenConnectionThatGivesUp(t *testing.T) {
	w := newWorld(t)
	book := &logbook{}
	cfg := w.config("prices")
	cfg.NATS, cfg.NATSConn, cfg.Log = "", w.ownConn(nats.MaxReconnects(1)), book.logger()
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	if !book.has("make it with nats.MaxReconnects(-1)") {
		t.Error("the log does not warn of a connection that gives up")
	}
	w.nats.Kill()
	await(t, "the connection to give up", cfg.NATSConn.IsClosed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	second := cfg
	second.Datasets = []string{"rules"}
	if _, err := subscribe.Open(ctx, second); !errors.Is(err, subscribe.ErrConfig) || !strings.Contains(err.Error(), "NATSConn is closed") {
		t.Errorf("Open with a closed connection returns %v", err)
	}
	if v := versionOf(t, handle(s, "prices").Table()); v != 1 {
		t.Errorf("version %d is served", v)
	}
}

// A subscriber that waits for its first version names the given connection's fault.
func TestGivenConnectionIsDown(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.NATS, cfg.NATSConn = "", w.ownConn(nats.MaxReconnects(-1))
	w.nats.Kill()
	await(t, "the connection to break", func() bool { return !cfg.NATSConn.IsConnected() })
	s := open(t, cfg)
	check := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
			t.Errorf("Wait returns %v; want %q in it", err, want)
		}
	}
	check("NATS at nats://127.0.0.1:")
	cfg.NATSConn.Close()
	check("NATSConn is closed for good")
}
