package fleet_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// request sends a payload to the responder of the run, and returns its answer.
func request(t *testing.T, ctx context.Context, nc *nats.Conn, payload []byte) string {
	t.Helper()
	m, err := nc.RequestWithContext(ctx, "freshet.v1.instances.get.RUNa", payload)
	if err != nil {
		t.Fatalf("%.40q: %v", payload, err)
	}
	return string(m.Data)
}

// Invariant: the responder answers every malformed request with an error, and goes on.
func TestMalformedRequests(t *testing.T) {
	ctx, s, nc := start(t)
	var looked atomic.Int64
	answering(t, ctx, s.URL, "", "a", func(name string, keys [][]byte) (fleet.Content, error) {
		looked.Add(1)
		return content{7, map[string]string{"A1": "x"}}.lookup(name, keys)
	})
	for payload, want := range map[string]string{
		"": "not readable", "{": "not readable", "null": "not a dataset name", `{"dataset":"prices"}`: "0 keys",
		`{"dataset":"*","keys":["QTE="]}`: "not a dataset name", `{"dataset":"prices","keys":["A1"]}`: "not readable",
		`{"dataset":"prices","keys":[""]}`: "the key is empty", `{"dataset":"prices","keys":[null]}`: "the key is empty",
		`{"dataset":"prices","keys":[` + strings.Repeat(`"QTE=",`, 64) + `"QTE="]}`: "65 keys",
		strings.Repeat("x", 200<<10): "the request has 204800 bytes, the most is 131072",
	} {
		if answer := request(t, ctx, nc, []byte(payload)); !strings.Contains(answer, want) || !strings.Contains(answer, `"kind":"failed"`) || len(answer) > 1000 {
			t.Errorf("%.60q: the answer is %s, want %s", payload, answer, want)
		}
	}
	// Requests without an inbox have no answer.
	watch, err := nc.SubscribeSync("freshet.v1.beacon")
	if err != nil {
		t.Fatal(err)
	}
	good := []byte(`{"dataset":"prices","keys":["QTE="]}`)
	for _, reply := range []string{"", "freshet.v1.beacon", "$JS.API.INFO"} {
		if err := nc.PublishRequest("freshet.v1.instances.get.RUNa", reply, good); err != nil && reply != "" {
			t.Fatal(err)
		}
	}
	if answer := request(t, ctx, nc, good); !strings.Contains(answer, `"found":true`) {
		t.Errorf("the answer to a request is %s", answer)
	}
	if n, _, err := watch.Pending(); n != 0 || err != nil || looked.Load() != 1 {
		t.Errorf("%d answers on a subject of freshet, %d lookups, %v", n, looked.Load(), err)
	}
}

// Invariant: a panic is the answer, and Run returns it. After the next Run the instance answers again.
func TestPanicOfALookup(t *testing.T) {
	ctx, s, nc := start(t)
	own := connect(t, s.URL)
	var broken atomic.Bool
	r := fleet.NewGetResponder(own, "", "RUNa", func(name string, keys [][]byte) (fleet.Content, error) {
		if broken.Load() {
			panic("no table today")
		}
		return content{7, nil}.lookup(name, keys)
	})
	good := []byte(`{"dataset":"prices","keys":["QTE="]}`)
	broken.Store(true)
	for range 2 {
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		subscribed(t, ctx, own)
		if answer := request(t, ctx, nc, good); !strings.Contains(answer, "the instance cannot answer: panic: no table today") {
			t.Errorf("the answer is %s", answer)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "no table today") {
			t.Errorf("Run returned %v", err)
		}
		eventually(t, ctx, "unsubscribed", func() bool { return own.NumSubscriptions() == 0 })
	}
	broken.Store(false)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	subscribed(t, ctx, own)
	if answer := request(t, ctx, nc, good); !strings.Contains(answer, `"version":7`) {
		t.Errorf("the answer is %s", answer)
	}
	own.Close()
	if err := <-done; !errors.Is(err, fleet.ErrClosed) {
		t.Errorf("of a closed connection: %v", err)
	}
	if err := r.Run(ctx); !errors.Is(err, fleet.ErrClosed) {
		t.Errorf("again: %v", err)
	}
}

func TestGetResponderRefuses(t *testing.T) {
	ctx, _, nc := start(t)
	if err := fleet.NewGetResponder(nc, "a.b", "RUN", content{}.lookup).Run(ctx); !errors.Is(err, dataset.ErrNamespace) {
		t.Error(err)
	}
	for _, run := range []string{"", "a.b", ">", strings.Repeat("x", 65)} {
		if err := fleet.NewGetResponder(nc, "", run, content{}.lookup).Run(ctx); err == nil || !strings.Contains(err.Error(), "cannot be a part of a subject") {
			t.Errorf("%q: %v", run, err)
		}
	}
}

// Invariant: a flood of requests is dropped while a lookup hangs, and the instance answers afterwards.
func TestFloodOfRequests(t *testing.T) {
	ctx, s, nc := start(t)
	own := connect(t, s.URL)
	hang, began := make(chan struct{}), make(chan struct{}, 1)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	var looked atomic.Int64
	r := fleet.NewGetResponder(own, "", "RUNa", func(name string, keys [][]byte) (fleet.Content, error) {
		if looked.Add(1) == 1 {
			began <- struct{}{}
			<-hang
		}
		return content{7, nil}.lookup(name, keys)
	})
	go func() { done <- r.Run(running) }()
	subscribed(t, ctx, own)
	good := []byte(`{"dataset":"prices","keys":["QTE="]}`)
	const flood = 2000
	for i := range flood {
		if err := nc.PublishRequest("freshet.v1.instances.get.RUNa", nats.NewInbox(), good); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-began
		}
	}
	if err := errors.Join(nc.Flush(), own.Flush()); err != nil {
		t.Fatal(err)
	}
	close(hang)
	// While the queue is full a request is dropped: the asker tries again.
	eventually(t, ctx, "the instance answers", func() bool {
		m, err := nc.Request("freshet.v1.instances.get.RUNa", good, time.Second)
		return err == nil && strings.Contains(string(m.Data), `"version":7`)
	})
	if n := looked.Load(); n > flood/2 { // of those in two bounded queues
		t.Errorf("%d of %d requests of the flood had a lookup", n, flood)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
