package subscribe_test

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// surveyed waits until n instances answer, and returns their statuses.
func (w *world) surveyed(n int) (all []fleet.Status) {
	w.t.Helper()
	await(w.t, "the instances to answer", func() bool {
		var err error
		all, err = fleet.Survey(w.context(), w.nc, fleet.SurveyOptions{})
		return err == nil && len(all) == n
	})
	return all
}

// get returns the answers of the instances.
func (w *world) get(instances []fleet.Status, keys ...string) []fleet.Answer {
	w.t.Helper()
	opts := fleet.GetOptions{Dataset: "prices", Instances: instances, Wait: patience}
	for _, k := range keys {
		opts.Keys = append(opts.Keys, []byte(k))
	}
	answers, err := fleet.Get(w.context(), w.nc, opts)
	if err != nil || len(answers) != len(instances) {
		w.t.Fatalf("%d answers, %v", len(answers), err)
	}
	return answers
}

// TestRemoteGet has three instances, one of which cannot load the second version.
func TestRemoteGet(t *testing.T) {
	w := newWorld(t)
	slow := newRelay(t, w.store)
	zones := map[string]string{"i1": "a", "i2": "b", "i3": "b"}
	instances := map[string]*subscribe.Subscriber{}
	for name, zone := range zones {
		cfg := w.config("prices", "rules")
		cfg.Instance, cfg.Labels, cfg.RemoteGet = name, map[string]string{"zone": zone, "app": "shop"}, true
		if name == "i3" {
			cfg.Relays = []string{slow.url}
		}
		instances[name] = open(t, cfg)
		delete(cfg.Labels, "zone") // the caller may use its map
	}
	all := w.surveyed(3)
	for _, s := range all {
		if diff := cmp.Diff(map[string]string{"zone": zones[s.Instance], "app": "shop"}, s.Labels); diff != "" {
			t.Errorf("%s: %s", s.Instance, diff)
		}
	}
	for _, a := range w.get(all, "key1") {
		if a.Err != nil || a.Version != 0 || !a.ID.IsZero() || a.Records[0].Found {
			t.Errorf("before the first version %s answers %+v", a.Instance, a)
		}
	}

	first := w.commit("prices", 1, records{"same": "1", "key1": "old"})
	w.announce(first)
	for _, s := range instances {
		await(t, "version 1", func() bool { d := handle(s, "prices"); return d.Table() != nil })
	}
	slow.fail(func(rw http.ResponseWriter, _ *http.Request) bool {
		http.Error(rw, "no", http.StatusInternalServerError)
		return true
	})
	large := strings.Repeat("x", fleet.MaxGetValueBytes+1)
	second := w.commit("prices", 2, records{"same": "1", "key1": "new", "large": large})
	w.announce(second)
	for _, name := range []string{"i1", "i2"} {
		await(t, "version 2", func() bool { return handle(instances[name], "prices").Table().Version() == 2 })
	}

	answers := w.get(w.surveyed(3), "key1", "same", "none", "large")
	for i, name := range []string{"i1", "i2", "i3"} {
		a, rec, value := answers[i], second, "new"
		if name == "i3" {
			rec, value = first, "old"
		}
		if a.Err != nil || a.Instance != name || a.Version != rec.Version || a.ID != rec.VersionID() || a.Labels["zone"] != zones[name] {
			t.Fatalf("%s answers %+v", name, a)
		}
		if l := a.Records[0]; string(l.Value) != value || l.Digest != sha256.Sum256([]byte(value)) {
			t.Errorf("%s has %+v", name, l)
		}
		if l := a.Records[3]; l.Found != (name != "i3") || l.Value != nil || l.Found && (l.Bytes != len(large) || l.Digest != sha256.Sum256([]byte(large))) {
			t.Errorf("%s has %d bytes of a large value, found: %v", name, l.Bytes, l.Found)
		}
	}
	for i, agree := range []bool{false, true, true, false} {
		if fleet.Agree(answers, i) != agree {
			t.Errorf("key %d: the instances agree: %v", i, !agree)
		}
	}
	zoneA := fleet.Selection{Labels: map[string]string{"zone": "a"}}.Filter(w.surveyed(3))
	if len(zoneA) != 1 || zoneA[0].Instance != "i1" {
		t.Errorf("zone a is %v", zoneA)
	}
	opts := fleet.GetOptions{Dataset: "cities", Keys: [][]byte{[]byte("a")}, Instances: zoneA, Wait: patience}
	if got, err := fleet.Get(w.context(), w.nc, opts); err != nil || !errors.Is(got[0].Err, fleet.ErrGetFailed) || !strings.Contains(got[0].Err.Error(), "prices, rules") {
		t.Errorf("a dataset that the instance does not have: %+v, %v", got, err)
	}
	// An instance that has ended is known at once.
	instances["i1"].Close()
	began := time.Now()
	if got := w.get(zoneA, "key1"); !errors.Is(got[0].Err, fleet.ErrSilent) || time.Since(began) > patience/2 {
		t.Errorf("%v after %v", got[0].Err, time.Since(began))
	}
}

// TestRemoteGetIsRefused has an instance without the setting.
func TestRemoteGetIsRefused(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	for _, a := range w.get(w.surveyed(1), "key1") {
		if !errors.Is(a.Err, fleet.ErrGetRefused) || !strings.Contains(a.Err.Error(), "FRESHET_REMOTE_GET=true") || a.Version != 0 || a.Records != nil {
			t.Errorf("%+v", a)
		}
	}
}

// TestReportsHaveLabels waits for the report of a swap.
func TestReportsHaveLabels(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(w.context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	cfg := w.config("prices")
	cfg.Labels = map[string]string{"tier": "canary"}
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	for {
		r, err := reports.Next(w.context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Labels["tier"] != "canary" || len(r.Labels) != 1 {
			t.Errorf("the report is %+v", r)
		}
		if r.Kind == fleet.OfSwap {
			return
		}
	}
}
