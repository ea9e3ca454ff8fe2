package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// subscriptions is the number of subscriptions of a responder: its own and the nine of the protocol of services.
const subscriptions = 10

// ask sends a request of the protocol of services and decodes the first answer.
func ask[T any](t *testing.T, ctx context.Context, nc *nats.Conn, subject string) (answer T) {
	t.Helper()
	m, err := nc.RequestWithContext(ctx, subject, nil)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		t.Fatalf("%s: %v in %s", subject, err, m.Data)
	}
	return answer
}

// A responder answers the requests of the NATS command line: `nats micro ls`, `info` and `stats`.
func TestInstancesAreServicesOfNATS(t *testing.T) {
	ctx, s, nc := start(t)
	d := serving("prices", 9)
	d.Newest, d.State, d.AgeSeconds = 10, fleet.Lagging, 7.5
	run(t, s.URL, "a", serving("cities", 7), d)

	ping := ask[micro.Ping](t, ctx, nc, "$SRV.PING")
	if ping.Name != "freshet-instance" || ping.Version == "" {
		t.Errorf("the answer to the ping is %+v", ping)
	}
	want := map[string]string{"instance": "a", "host": "host", "pid": "1", "datasets": "cities,prices"}
	if diff := cmp.Diff(want, ping.Metadata); diff != "" {
		t.Error(diff)
	}
	info := ask[micro.Info](t, ctx, nc, "$SRV.INFO.freshet-instance."+ping.ID)
	endpoint := []micro.EndpointInfo{{Name: "status", Subject: "freshet.v1.instances.status"}}
	if diff := cmp.Diff(endpoint, info.Endpoints); diff != "" || info.Description == "" {
		t.Errorf("%q: %s", info.Description, diff)
	}
	if all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{}); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	stats := ask[micro.Stats](t, ctx, nc, "$SRV.STATS.freshet-instance")
	if len(stats.Endpoints) != 1 || stats.Endpoints[0].NumRequests != 1 || stats.Endpoints[0].NumErrors != 0 {
		t.Fatalf("the statistics are %+v", stats)
	}
	var summaries []fleet.Summary
	if err := json.Unmarshal(stats.Endpoints[0].Data, &summaries); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]fleet.Summary{
		{Dataset: "cities", Version: 7, State: fleet.Fresh},
		{Dataset: "prices", Version: 9, Newest: 10, State: fleet.Lagging, AgeSeconds: 7.5},
	}, summaries); diff != "" {
		t.Error(diff)
	}
}

// Every instance answers requests for its status, and requests to the service.
func TestEveryInstanceAnswers(t *testing.T) {
	ctx, s, nc := start(t)
	for _, name := range []string{"a", "b", "c"} {
		run(t, s.URL, name)
	}
	inbox, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("$SRV.PING.freshet-instance", inbox.Subject, nil); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < 3 {
		m, err := inbox.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatalf("%v answered: %v", seen, err)
		}
		var p micro.Ping
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Fatal(err)
		}
		seen[p.Metadata["instance"]] = true
	}
}

func TestResponderAnswersAgainAfterARestart(t *testing.T) {
	ctx, s, nc := start(t)
	i := run(t, s.URL, "a")
	s.Kill()
	s.Start()
	eventually(t, ctx, "the instance answers", func() bool {
		all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{Stall: time.Millisecond, Wait: 100 * time.Millisecond})
		return err == nil && len(all) == 1
	})
	if p := ask[micro.Ping](t, ctx, nc, "$SRV.PING"); p.Metadata["instance"] != "a" {
		t.Errorf("%+v", p)
	}
	s.Kill()
	i.stop() // stop returns, although there is no server
	eventually(t, ctx, "nothing is left of it", func() bool { return i.nc.NumSubscriptions() == 0 || !i.nc.IsConnected() })
}

func TestResponderOfAClosedConnection(t *testing.T) {
	ctx, s, _ := start(t)
	nc := connect(t, s.URL)
	r := fleet.NewResponder(nc, "", func() fleet.Status { return fleet.Status{} })
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	eventually(t, ctx, "subscribed", func() bool { return nc.NumSubscriptions() == subscriptions })
	nc.Close()
	if err := <-done; !errors.Is(err, fleet.ErrClosed) {
		t.Error(err)
	}
	if err := r.Run(ctx); !errors.Is(err, fleet.ErrClosed) {
		t.Error(err)
	}
}

// Invariant: Run returns a panic of the status as an error with its stack, and the panic has no other effect; the next Run
// registers again. The connection's earlier handlers are called once for each event: during a Run, between two, and after.
func TestResponderIsRegisteredAgain(t *testing.T) {
	ctx, s, nc := start(t)
	var handled atomic.Int32
	var broken atomic.Bool
	own := connect(t, s.URL)
	own.SetErrorHandler(func(*nats.Conn, *nats.Subscription, error) { handled.Add(1) })
	r := fleet.NewResponder(own, "", func() fleet.Status {
		if broken.Load() {
			panic("no status today")
		}
		return fleet.Status{Instance: "a"}
	})
	report := func(want int32) {
		t.Helper()
		own.ErrorHandler()(own, nil, errors.New("an error"))
		if n := handled.Load(); n != want {
			t.Errorf("the handler was called %d times, want %d", n, want)
		}
	}
	begin := func() (stop func(), done chan error) {
		t.Helper()
		running, cancel := context.WithCancel(ctx)
		done = make(chan error, 1)
		go func() { done <- r.Run(running) }()
		eventually(t, ctx, "registered", func() bool { return own.NumSubscriptions() == subscriptions })
		if err := own.Flush(); err != nil {
			t.Fatal(err)
		}
		return cancel, done
	}
	for i, subject := range []string{"freshet.v1.instances.status", "$SRV.STATS.freshet-instance"} {
		_, done := begin()
		report(int32(2*i + 1))
		broken.Store(true)
		if err := nc.PublishRequest(subject, nats.NewInbox(), nil); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "no status today") || !strings.Contains(err.Error(), "responder_test.go") {
			t.Errorf("the error is %v", err)
		}
		broken.Store(false)
		report(int32(2*i + 2))
		eventually(t, ctx, "unsubscribed", func() bool { return own.NumSubscriptions() == 0 })
	}
	stop, done := begin()
	if p := ask[micro.Ping](t, ctx, nc, "$SRV.PING"); p.Metadata["instance"] != "a" {
		t.Errorf("%+v", p)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	report(5)
}
