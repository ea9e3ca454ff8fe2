package fleet_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(2*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func start(t testing.TB) (context.Context, *servertest.NATSServer, *nats.Conn) {
	t.Helper()
	s := servertest.NATS(t)
	return testContext(t), s, connect(t, s.URL)
}

// eventually waits for the condition.
func eventually(t testing.TB, ctx context.Context, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// instance is a fake instance with a status that the test sets.
type instance struct {
	t      testing.TB
	nc     *nats.Conn
	status atomic.Pointer[fleet.Status]
	asked  atomic.Int64 // the number of requests for its status
	stop   func()
}

// run starts an instance on its own connection; it ends with the test or by stop.
func run(t testing.TB, url, name string, datasets ...fleet.DatasetStatus) *instance {
	t.Helper()
	i := &instance{t: t, nc: connect(t, url)}
	i.status.Store(&fleet.Status{Instance: name, Host: "host", PID: 1, Datasets: datasets})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r := fleet.NewResponder(i.nc, "", func() fleet.Status { i.asked.Add(1); return *i.status.Load() })
	go func() { done <- r.Run(ctx) }()
	stopped := false
	i.stop = func() {
		cancel()
		if stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			t.Errorf("instance %s: %v", name, err)
		}
	}
	t.Cleanup(i.stop)
	eventually(t, testContext(t), "the instance is subscribed", func() bool { return i.nc.NumSubscriptions() == subscriptions })
	if err := i.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return i
}

// process sets the instance's process id.
func (i *instance) process(pid int) {
	s := *i.status.Load()
	s.PID = pid
	i.status.Store(&s)
}

// serve swaps in the version without a report.
func (i *instance) serve(name string, version uint64) {
	s := *i.status.Load()
	s.Datasets = []fleet.DatasetStatus{serving(name, version)}
	i.status.Store(&s)
}

func (i *instance) report(r fleet.Report) {
	i.t.Helper()
	s := i.status.Load()
	r.Instance, r.Host, r.PID, r.Run = s.Instance, s.Host, s.PID, s.Run
	if err := fleet.SendReport(i.nc, "", r); err != nil {
		i.t.Error(err)
	}
}

func serving(name string, version uint64) fleet.DatasetStatus {
	return fleet.DatasetStatus{
		Dataset: name, Version: version, Records: 10, Bytes: 1000, State: fleet.Fresh, From: fleet.Relay,
		Since: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), Served: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), LastPull: fleet.Pull{Bytes: 500, Duration: time.Millisecond},
	}
}
