package subscribe_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/subscribe"
)

// handle returns the handle of a dataset that the subscriber has.
func handle(s *subscribe.Subscriber, name string) *subscribe.Dataset {
	d, err := s.Dataset(name)
	if err != nil {
		panic(err)
	}
	return d
}

func TestUnknownDatasets(t *testing.T) {
	names := make([]string, 25)
	for i := range names {
		names[i] = fmt.Sprintf("d%02d", i)
	}
	many := strings.Join(names[:20], ", ") + " and 5 more"
	for want, names := range map[string][]string{"prices, rules": {"prices", "rules"}, many: names} {
		s := open(t, subscribe.Config{NATS: natsURL, Relays: []string{"http://127.0.0.1:1"}, Datasets: names})
		for _, name := range []string{"pricse", "", strings.Repeat("x", 1000)} {
			d, err := s.Dataset(name)
			text := fmt.Sprintf("unknown dataset %.80q; Config.Datasets has %s", name, want)
			if d != nil || !errors.Is(err, subscribe.ErrUnknownDataset) || err.Error() != text {
				t.Errorf("got %v, %v; want %s", d, err, text)
			}
		}
		for _, name := range names {
			if d, err := s.Dataset(name); err != nil || d.Name() != name || d != handle(s, name) {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
	}
}

// Before the first version a lookup reports so, and nothing panics. After it, and after Close, lookups read the version.
func TestLookups(t *testing.T) {
	w := newWorld(t)
	s, err := subscribe.Open(t.Context(), w.config("prices"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	prices := handle(s, "prices")
	noVersion := func(what string, ok bool, err error) {
		t.Helper()
		if ok || !errors.Is(err, subscribe.ErrNoVersion) || !strings.Contains(err.Error(), "dataset prices") {
			t.Errorf("%s before the first version: %v, %v", what, ok, err)
		}
	}
	value, ok, err := prices.Get("key1")
	noVersion("Get", ok, err)
	if value != nil {
		t.Errorf("Get before the first version returns %q", value)
	}
	extended, ok, err := prices.Append([]byte("x"), "key1")
	noVersion("Append", ok, err)
	if string(extended) != "x" {
		t.Errorf("Append before the first version returns %q", extended)
	}
	rec, ok := prices.Version()
	if prices.Table() != nil || ok || rec.Version != 0 || !prices.VersionID().IsZero() || prices.Status().Version != 0 {
		t.Errorf("before the first version: %v, %+v, %s", prices.Table(), rec, prices.VersionID())
	}

	want := w.commit("prices", 1, records{"key1": "one", "empty": ""})
	w.announce(want)
	if err := prices.Wait(w.context()); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for key, want := range map[string]string{"key1": "one", "empty": ""} {
			if value, ok, err := prices.Get(key); value == nil || string(value) != want || !ok || err != nil {
				t.Errorf("%s: Get of %s returns %q, %v, %v", when, key, value, ok, err)
			}
			if got, ok, err := prices.Append([]byte("x"), key); string(got) != "x"+want || !ok || err != nil {
				t.Errorf("%s: Append of %s returns %q, %v, %v", when, key, got, ok, err)
			}
		}
		if value, ok, err := prices.Get("none"); value != nil || ok || err != nil {
			t.Errorf("%s: Get of an unknown key returns %q, %v, %v", when, value, ok, err)
		}
		if got, ok, err := prices.Append([]byte("x"), "none"); string(got) != "x" || ok || err != nil {
			t.Errorf("%s: Append of an unknown key returns %q, %v, %v", when, got, ok, err)
		}
		rec, ok := prices.Version()
		if prices.Table().Version() != 1 || !ok || rec.ID() != "prices/1" || prices.VersionID() != want.VersionID() || prices.Status().Version != 1 {
			t.Errorf("%s: %v, %+v, %s", when, ok, rec, prices.VersionID())
		}
	}
	check("after the first version")
	if allocs := testing.AllocsPerRun(100, func() { prices.Get("key1"); prices.Get("none") }); allocs > 0 {
		t.Errorf("two lookups allocate %v times", allocs)
	}
	kept, _, _ := prices.Append(nil, "key1")
	kept[0] = 'X' // the caller's copy
	check("after a change of a copy")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after Close")
}

// A value and its copy stay as they are while later versions are served.
func TestValuesMayBeKept(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	var values [][]byte
	for v := uint64(1); v <= 5; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
		value, _, _ := prices.Get("key1")
		values = append(values, value)
	}
	for i, value := range values {
		if string(value) != fmt.Sprint(i+1) {
			t.Errorf("the value of version %d is %q", i+1, value)
		}
	}
}

// After stop no call begins; other callbacks go on, and stop may be called by the callback itself and again.
func TestStopEndsCallbacks(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	kept, ended, own := make(chan uint64, 10), make(chan uint64, 10), make(chan uint64, 10)
	register := func(f func(subscribe.Swap)) func() {
		t.Helper()
		stop, err := prices.OnSwap(f)
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	stop := register(func(swap subscribe.Swap) { ended <- swap.New.Version() })
	var stopOwn atomic.Pointer[func()]
	f := register(func(swap subscribe.Swap) { own <- swap.New.Version(); (*stopOwn.Load())() })
	stopOwn.Store(&f)
	register(func(swap subscribe.Swap) { kept <- swap.New.Version() })

	w.publish("prices", 1)
	for name, calls := range map[string]chan uint64{"the first": ended, "the one that stops itself": own, "the last": kept} {
		if v := <-calls; v != 1 {
			t.Errorf("%s is called for version %d", name, v)
		}
	}
	stop()
	stop()
	w.publish("prices", 2)
	if v := <-kept; v != 2 {
		t.Errorf("the callback that goes on is called for version %d", v)
	}
	await(t, "the status to leave out ended callbacks", func() bool { return prices.Status().FollowersBehindSeconds == 0 })
	if len(ended) != 0 || len(own) != 0 {
		t.Errorf("ended callbacks were called %d and %d times", len(ended), len(own))
	}
	stop = register(func(subscribe.Swap) { panic("in the callback") })
	await(t, "the warning", func() bool { return strings.Contains(prices.Status().Warning, "in the callback") })
	stop()
	if warning := prices.Status().Warning; strings.Contains(warning, "in the callback") {
		t.Errorf("the warning of an ended callback stays: %s", warning)
	}
}

// A closed eager view stays at its version. Wait reports a view that was closed before its first version.
func TestCloseOfView(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	prices := handle(s, "prices")
	decode := func(_, value []byte) (string, error) { return string(value), nil }
	var views []*subscribe.View[string]
	for _, options := range [][]subscribe.ViewOption{{subscribe.Eager()}, {subscribe.Eager()}, nil} {
		v, err := subscribe.NewView(prices, decode, options...)
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, v)
		if _, ok, err := v.Get("key1"); ok || !errors.Is(err, subscribe.ErrNoVersion) {
			t.Errorf("before the first version: %v, %v", ok, err)
		}
	}
	views[0].Close()
	w.publish("prices", 1)
	for _, v := range views[1:] {
		if err := v.Wait(w.context()); err != nil {
			t.Fatal(err)
		}
		v.Close()
		v.Close()
	}
	if err := views[0].Wait(w.context()); !errors.Is(err, subscribe.ErrClosed) {
		t.Errorf("Wait of a closed view returns %v", err)
	}
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	follow, err := subscribe.NewView(prices, decode, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "an open view to follow", func() bool { return follow.Version() == 2 })
	var got []uint64
	for _, v := range views {
		got = append(got, v.Version())
	}
	if want := []uint64{0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("a view closed before the first version, one closed after, and a lazy one are at %v; want %v", got, want)
	}
	if v, ok, err := views[1].Get("key1"); v != "1" || !ok || err != nil {
		t.Errorf("a closed view returns %q, %v, %v", v, ok, err)
	}
}
