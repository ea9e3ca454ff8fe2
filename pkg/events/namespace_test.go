package events_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// TestNamespacesAreApart has three environments on one server, each with another version of a dataset of the same name.
func TestNamespacesAreApart(t *testing.T) {
	ctx, s, nc, _ := start(t)
	names := []string{"cities"}
	versions := map[string]uint64{"": 3, "a": 5, "b": 7}
	logs, listeners := map[string]*events.Log{}, map[string]*events.Listener{}
	for namespace := range versions {
		logs[namespace] = newLog(t, nc, events.Config{Namespace: namespace})
		l, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{Namespace: namespace}, names...)
		expectCatchUp(t, ctx, l, "start")
		listeners[namespace] = l
	}
	for namespace, version := range versions {
		announce(t, ctx, logs[namespace], "cities", version)
		b := events.Beacon{Publisher: "p" + namespace, Sent: time.Now(), Every: time.Second, Newest: map[string]uint64{"cities": version}}
		if err := events.SendBeacon(nc, namespace, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for namespace, version := range versions {
		l := listeners[namespace]
		if rec := receive(t, ctx, "a version", l.Versions()); rec.Version != version {
			t.Errorf("namespace %q receives version %d, want %d", namespace, rec.Version, version)
		}
		reports := receive(t, ctx, "a beacon", l.Beacons()).Reports["cities"]
		if len(reports) != 1 || reports[0].Version != version || reports[0].Publisher != "p"+namespace {
			t.Errorf("namespace %q receives the reports %+v, want one of version %d", namespace, reports, version)
		}
		latest := must(logs[namespace].Latest(ctx, names))(t)
		if len(latest) != 1 || latest["cities"].Version != version {
			t.Errorf("namespace %q catches up with %v, want version %d", namespace, latest, version)
		}
		if last := must(logs[namespace].Last(ctx, "cities"))(t); last.Version != version {
			t.Errorf("the last version of namespace %q is %d, want %d", namespace, last.Version, version)
		}
		if got := history(t, ctx, logs[namespace], "cities"); !slices.Equal(got, []uint64{version}) {
			t.Errorf("the history of namespace %q is %v, want version %d", namespace, got, version)
		}
	}
	// After a restore, the versions of one environment go down, and the others do not change.
	if err := logs["a"].Supersede(ctx, record("cities", 4), record("cities", 5)); err != nil {
		t.Fatal(err)
	}
	versions["a"] = 4
	for namespace, version := range versions {
		if last := must(logs[namespace].Last(ctx, "cities"))(t); last.Version != version {
			t.Errorf("after a restore of namespace a the last version of namespace %q is %d, want %d", namespace, last.Version, version)
		}
	}
	receive(t, ctx, "the superseding version", listeners["a"].Versions())
	// All three have sent everything by now. The next version shows that nothing else is pending.
	for namespace, version := range versions {
		announce(t, ctx, logs[namespace], "cities", version+1)
	}
	for namespace, version := range versions {
		if rec := receive(t, ctx, "a second version", listeners[namespace].Versions()); rec.Version != version+1 {
			t.Errorf("namespace %q receives version %d, want %d", namespace, rec.Version, version+1)
		}
	}
}

// TestManyDatasetsOfANamespace subscribes with a wildcard, which must not match another namespace.
func TestManyDatasetsOfANamespace(t *testing.T) {
	ctx, s, nc, own := start(t)
	names := []string{"cities"}
	for len(names) < 100 {
		names = append(names, "d"+string(rune('a'+len(names)/26))+string(rune('a'+len(names)%26)))
	}
	other := newLog(t, nc, events.Config{Namespace: "versions"})
	inDefault, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{}, names...)
	inOther, _ := listen(t, ctx, connect(t, s.URL), events.ListenerConfig{Namespace: "versions"}, names...)
	expectCatchUp(t, ctx, inDefault, "start")
	expectCatchUp(t, ctx, inOther, "start")
	announce(t, ctx, own, "cities", 1)
	announce(t, ctx, other, "cities", 2)
	for want, l := range map[uint64]*events.Listener{1: inDefault, 2: inOther} {
		if rec := receive(t, ctx, "a version", l.Versions()); rec.Version != want {
			t.Errorf("received version %d, want %d", rec.Version, want)
		}
	}
}

// TestNamesOfNamespaces pins the names on the server. Those of the default namespace are the names of v0.1.
func TestNamesOfNamespaces(t *testing.T) {
	ctx, _, nc, _ := start(t)
	for _, c := range []struct {
		cfg                     events.Config
		stream, subject, beacon string
	}{
		{events.Config{}, "FRESHET", "freshet.v1.versions.>", "freshet.v1.beacon"},
		{events.Config{Namespace: "prod-eu"}, "FRESHET_PROD-EU", "freshet.v1.ns.prod-eu.versions.>", "freshet.v1.ns.prod-eu.beacon"},
		{events.Config{Namespace: "b", Stream: "MINE"}, "MINE", "freshet.v1.ns.b.versions.>", "freshet.v1.ns.b.beacon"},
	} {
		log := newLog(t, nc, c.cfg)
		if err := log.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		s := must(api(t, nc).Stream(ctx, c.stream))(t)
		if got := s.CachedInfo().Config.Subjects; !slices.Equal(got, []string{c.subject}) {
			t.Errorf("the subjects of stream %s are %v, want %s", c.stream, got, c.subject)
		}
		sub := must(nc.SubscribeSync(c.beacon))(t)
		if err := events.SendBeacon(nc, c.cfg.Namespace, events.Beacon{Every: time.Second}); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsgWithContext(ctx); err != nil {
			t.Errorf("no beacon on %s: %v", c.beacon, err)
		}
	}
}

func TestRefusesANamespace(t *testing.T) {
	_, _, nc, _ := start(t)
	_, logErr := events.NewLog(nc, events.Config{Namespace: "a.b"})
	_, listenerErr := events.NewListener(nc, nil, events.ListenerConfig{Namespace: ">"})
	beaconErr := events.SendBeacon(nc, "*", events.Beacon{Every: time.Second})
	for _, err := range []error{logErr, listenerErr, beaconErr} {
		if !errors.Is(err, dataset.ErrNamespace) {
			t.Errorf("got %v, want ErrNamespace", err)
		}
	}
}
