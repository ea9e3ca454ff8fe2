package fleet_test

import (
	"context"
	"errors"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// respond runs a responder in a namespace until the test ends.
func respond(t *testing.T, ctx context.Context, nc *nats.Conn, namespace string, s fleet.Status) {
	t.Helper()
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fleet.NewResponder(nc, namespace, func() fleet.Status { return s }).Run(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the responder of namespace %q: %v", namespace, err)
		}
	})
	eventually(t, ctx, "the instance is subscribed", func() bool { return nc.NumSubscriptions() == subscriptions })
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestNamespacesAreApart runs an instance with the same dataset in each of three environments on one server.
func TestNamespacesAreApart(t *testing.T) {
	ctx, s, nc := start(t)
	services := map[string]string{"": "freshet-instance", "a": "freshet-instance-a", "b": "freshet-instance-b"}
	subjects := map[string]string{
		"": "freshet.v1.instances.status", "a": "freshet.v1.ns.a.instances.status", "b": "freshet.v1.ns.b.instances.status",
	}
	versions := map[string]uint64{"": 3, "a": 5, "b": 7}
	watches := map[string]*fleet.Reports{}
	for namespace, version := range versions {
		respond(t, ctx, connect(t, s.URL), namespace, fleet.Status{
			Instance: "i" + namespace, Host: "host", PID: 1, Datasets: []fleet.DatasetStatus{serving("cities", version)},
		})
		w, err := fleet.WatchReports(ctx, nc, namespace, "")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		watches[namespace] = w
	}
	for namespace, version := range versions {
		all, err := fleet.Survey(ctx, nc, fleet.SurveyOptions{Namespace: namespace})
		if err != nil || len(all) != 1 || all[0].Instance != "i"+namespace {
			t.Errorf("the survey of namespace %q gives %v, %v", namespace, all, err)
		}
		// Instances of other namespaces have a lower or a higher version: the wait would not end, or would report them.
		served := 0
		err = fleet.WaitServed(ctx, nc, fleet.Wait{Namespace: namespace, Dataset: "cities", Version: dataset.Ref{Version: version}, OnReport: func(r fleet.Report) {
			served++
			if r.Instance != "i"+namespace || r.Version != version {
				t.Errorf("the wait in namespace %q reports %+v", namespace, r)
			}
		}})
		if err != nil || served != 1 {
			t.Errorf("the wait in namespace %q ends with %v after %d reports", namespace, err, served)
		}
		for _, v := range []uint64{version, version + 1} { // the second shows that no other report arrives in between
			if err := fleet.SendReport(nc, namespace, fleet.Report{Instance: "i" + namespace, Dataset: "cities", Version: v}); err != nil {
				t.Fatal(err)
			}
		}
		info := ask[micro.Info](t, ctx, nc, "$SRV.INFO."+services[namespace])
		if info.Metadata["instance"] != "i"+namespace || info.Endpoints[0].Subject != subjects[namespace] {
			t.Errorf("the service %s is %+v", services[namespace], info)
		}
	}
	for namespace, version := range versions {
		for _, want := range []uint64{version, version + 1} {
			r, err := watches[namespace].Next(ctx)
			if err != nil || r.Instance != "i"+namespace || r.Version != want {
				t.Errorf("namespace %q has the report %+v, %v; want version %d", namespace, r, err, want)
			}
		}
	}
}

func TestRefusesANamespace(t *testing.T) {
	ctx, _, nc := start(t)
	_, survey := fleet.Survey(ctx, nc, fleet.SurveyOptions{Namespace: "*"})
	_, watch := fleet.WatchReports(ctx, nc, ">", "cities")
	for what, err := range map[string]error{
		"Survey": survey, "WatchReports": watch,
		"SendReport": fleet.SendReport(nc, "a.b", fleet.Report{Dataset: "cities"}),
		"WaitServed": fleet.WaitServed(ctx, nc, fleet.Wait{Namespace: "A", Dataset: "cities", Version: dataset.Ref{Version: 1}}),
		"Run":        fleet.NewResponder(nc, "a b", func() fleet.Status { return fleet.Status{} }).Run(ctx),
	} {
		if !errors.Is(err, dataset.ErrNamespace) {
			t.Errorf("%s: got %v, want ErrNamespace", what, err)
		}
	}
}
