package subscribe_test

import (
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/pkg/subscribe"
)

// TestNamespacesAreApart has three environments on one NATS and one Redis, each with a store, a relay and an instance of
// its own. Dataset and instance have the same names in all, the versions differ.
func TestNamespacesAreApart(t *testing.T) {
	shared, redis := newWorld(t), servertest.Redis(t)
	versions := map[string]uint64{"": 3, "a": 5, "b": 7}
	instances := map[string]*subscribe.Subscriber{}
	for namespace, version := range versions {
		w := &world{t: t, nats: shared.nats, nc: shared.nc}
		var err error
		if w.log, err = events.NewLog(w.nc, events.Config{Namespace: namespace}); err != nil {
			t.Fatal(err)
		}
		if w.store, err = storeurl.Open(t.Context(), "dir://"+t.TempDir()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.store.Close() })
		w.relay = newRelay(t, w.store)
		for v := uint64(1); v < version; v++ {
			w.commit("prices", v, numbered(v))
		}
		cfg := w.config("prices")
		cfg.Namespace, cfg.Redis = namespace, redis.URL
		instances[namespace] = open(t, cfg)
		w.publish("prices", version)
		b := events.Beacon{Publisher: "p" + namespace, Sent: time.Now(), Every: time.Minute, Newest: map[string]uint64{"prices": version}}
		await(t, "a subscription to beacons", func() bool { // and one that is too early is lost
			if err := events.SendBeacon(w.nc, namespace, b); err != nil {
				t.Fatal(err)
			}
			return statusOf(t, instances[namespace], "prices").Newest == version
		})
	}
	for namespace, version := range versions {
		awaitVersion(t, instances[namespace], "prices", version)
		c := openCatalog(t, redis.URL, namespace)
		await(t, "the record of the instance", func() bool {
			all := shared.written(c)
			d, _ := all["i1"].Dataset("prices")
			return len(all) == 1 && d.Version == version
		})
		all, err := fleet.Survey(shared.context(), shared.nc, fleet.SurveyOptions{Namespace: namespace})
		if err != nil || len(all) != 1 {
			t.Fatalf("the survey of namespace %q gives %+v, %v", namespace, all, err)
		}
		d, _ := all[0].Dataset("prices")
		if d.Version != version || d.Newest != version || d.Error != "" {
			t.Errorf("the instance of namespace %q says %+v, want version %d", namespace, d, version)
		}
		if err := fleet.WaitServed(shared.context(), shared.nc, fleet.Wait{Namespace: namespace, Dataset: "prices", Version: dataset.Ref{Version: version}}); err != nil {
			t.Error(err)
		}
	}
}
