package subscribe_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// failures returns the next report of a failure whose error has the text.
func failure(t *testing.T, w *world, reports *fleet.Reports, text string) fleet.Report {
	t.Helper()
	for {
		r, err := reports.Next(w.context())
		if err != nil {
			t.Fatalf("no report of %q: %v", text, err)
		}
		if r.Kind == fleet.OfFailure && strings.Contains(r.Error, text) {
			return r
		}
	}
}

// thirds decodes a number, and panics for every third.
func thirds(_, value []byte) (int, error) {
	n, err := strconv.Atoi(string(value))
	if err == nil && n%3 == 0 {
		panic("a third")
	}
	return n, err
}

// Invariant: a decoder that panics on every third version stops nothing: the versions are served, the others are decoded,
// and the panic is in the log and in a report with its stack, and in the warning while it lasts.
func TestDecoderThatPanicsOnEveryThirdVersion(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	book := &logbook{}
	cfg := w.config("prices")
	cfg.Log = book.logger()
	s := open(t, cfg)
	lazy, err := subscribe.NewView(handle(s, "prices"), thirds)
	if err != nil {
		t.Fatal(err)
	}
	eager, err := subscribe.NewView(handle(s, "prices"), thirds, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	for v := uint64(1); v <= 12; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
		await(t, "the eager view to follow", func() bool { return eager.Version() == v })
		poison := v%3 == 0
		for name, view := range map[string]*subscribe.View[int]{"lazy": lazy, "eager": eager} {
			for range 2 {
				got, ok, err := view.Get("key0")
				if !ok || poison != (err != nil) || !poison && got != int(v) || poison && !strings.Contains(err.Error(), "panic: a third (at ") {
					t.Errorf("version %d: the %s view has %v, %v, %v", v, name, got, ok, err)
				}
			}
		}
		warning := statusOf(t, s, "prices").Warning
		if poison != strings.Contains(warning, "an eager view could not decode 20 records of version "+strconv.Itoa(int(v))+": ") || !poison && warning != "" {
			t.Errorf("version %d: the warning is %q", v, warning)
		}
		if poison {
			// One by the eager view for all records, one by the lazy view for the first.
			for range 2 {
				if r := failure(t, w, reports, "a third"); r.Version != v || !strings.Contains(r.Stack, "panic_test.go") || strings.Contains(r.Error, "\n") {
					t.Errorf("the report is %+v", r)
				}
			}
		}
	}
	if d := statusOf(t, s, "prices"); d.Refreshes.Failed != 0 || d.Error != "" {
		t.Errorf("the status is %+v", d)
	}
	if !book.has("the decode function of a view panicked") || !book.has("could not be decoded for an eager view") || !book.has("panic_test.go") {
		t.Error("the log does not tell of it")
	}
}

// A decode function that hangs delays only its own view, and the status warns of it.
func TestDecoderThatHangs(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices", "rules")
	cfg.Lanes, cfg.StallTimeout = 1, 100*time.Millisecond
	s := open(t, cfg)
	gate := make(chan struct{})
	hung, err := subscribe.NewView(handle(s, "prices"), func(_, value []byte) (string, error) { <-gate; return string(value), nil }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 1)
	await(t, "the warning", func() bool {
		return strings.Contains(statusOf(t, s, "prices").Warning, "an eager view has not returned for ")
	})
	other, err := subscribe.NewView(handle(s, "rules"), func(_, value []byte) (string, error) { return string(value), nil }, subscribe.Eager())
	if err != nil {
		t.Fatal(err)
	}
	w.publish("rules", 1)
	if err := other.Wait(w.context()); err != nil {
		t.Error(err)
	}
	w.publish("prices", 2) // refreshes go on
	awaitVersion(t, s, "prices", 2)
	close(gate)
	await(t, "the view to follow", func() bool { return hung.Version() == 2 })
	await(t, "the warning to go", func() bool { return warningOf(t, s, "prices") == "" })
}

// Functions of the Observer that always panic stop nothing, and every panic is reported.
func TestObserverThatPanics(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	book := &logbook{}
	cfg := w.config("prices")
	cfg.Log = book.logger()
	var failed, healed atomic.Bool
	cfg.Observer = subscribe.Observer{
		Swapped:      func(subscribe.Refresh) { panic("in Swapped") },
		Failed:       func(subscribe.Failure) { failed.Store(true); panic("in Failed") },
		CaughtUp:     func(subscribe.CatchUp) { panic("in CaughtUp") },
		StateChanged: func(subscribe.StateChange) { panic("in StateChanged") },
		Healed:       func(subscribe.Healing) { healed.Store(true); panic("in Healed") },
	}
	s := open(t, cfg)
	w.relay.stop()
	w.publish("prices", 1)
	await(t, "a failure", failed.Load)
	w.relay.restart()
	awaitVersion(t, s, "prices", 1)
	// A relay that is queried while the instance catches up may name a version before the beacon does, and then nothing heals.
	for v := uint64(2); !healed.Load(); v++ {
		if v > 50 {
			t.Fatal("nothing heals")
		}
		w.commit("prices", v, numbered(v))
		w.beacon(time.Second, map[string]uint64{"prices": v})
		awaitVersion(t, s, "prices", v)
	}
	missing := map[string]bool{"in Swapped": true, "in Failed": true, "in CaughtUp": true, "in StateChanged": true, "in Healed": true}
	for len(missing) > 0 {
		r := failure(t, w, reports, "a function of the Observer panicked: panic: ")
		if !strings.Contains(r.Stack, "panic_test.go") {
			t.Errorf("the report is %+v", r)
		}
		for hook := range missing {
			if strings.Contains(r.Error, hook) {
				delete(missing, hook)
			}
		}
	}
	if !book.has("a function of the Observer panicked") || book.has("started again") {
		t.Error("the log does not tell of it, or something was started again")
	}
}

func TestPanickingCallbackIsReported(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	s := open(t, w.config("prices"))
	if _, err := handle(s, "prices").OnSwap(func(subscribe.Swap) { panic("in the callback") }); err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 1)
	for range 2 { // and again, for as long as it panics
		if r := failure(t, w, reports, "call back for version prices/1: panic: in the callback (at "); r.Version != 1 || !strings.Contains(r.Stack, "panic_test.go") {
			t.Errorf("the report is %+v", r)
		}
	}
}
