package subscribe_test

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

func TestPanickingCallback(t *testing.T) {
	w := newWorld(t)
	book := &logbook{}
	cfg := w.config("prices", "rules")
	cfg.Log = book.logger()
	var observed atomic.Int64
	cfg.Observer.CallbackFailed = func(subscribe.CallbackFailure) { observed.Add(1) }
	s := open(t, cfg)
	var broken atomic.Bool
	broken.Store(true)
	swaps := make(chan subscribe.Swap, 100)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) {
		if broken.Load() {
			panic("in the callback")
		}
		swaps <- swap
	}); err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 1)
	await(t, "the panic to be in the status", func() bool {
		return strings.Contains(statusOf(t, s, "prices").Warning, "call back for version prices/1: panic: in the callback (at ")
	})
	for v := uint64(2); v <= 3; v++ { // refreshes of this dataset and of others continue
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	w.publish("rules", 1)
	awaitVersion(t, s, "rules", 1)
	if d := statusOf(t, s, "prices"); d.State != fleet.Fresh || d.Error != "" || d.FollowersBehindSeconds <= 0 {
		t.Errorf("the status is %+v", d)
	}
	broken.Store(false)
	// The call is retried until it returns, for the newest version.
	if swap := <-swaps; swap.Old != nil || swap.New.Version() != 3 {
		t.Errorf("the first call that returned was told %+v", swap)
	}
	await(t, "the warning to go", func() bool { return warningOf(t, s, "prices") == "" })
	await(t, "the callback to have followed", func() bool { return statusOf(t, s, "prices").FollowersBehindSeconds == 0 })
	if observed.Load() == 0 || !book.has("callback_test.go") {
		t.Error("the panic's stack is not in the log, or the Observer was not told")
	}
}

func TestSlowCallbackHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices", "rules"))
	gate, swaps := make(chan struct{}), make(chan subscribe.Swap, 100)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { swaps <- swap; <-gate }); err != nil {
		t.Fatal(err)
	}
	w.publish("prices", 1)
	first := <-swaps
	for v := uint64(2); v <= 5; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	w.publish("rules", 1)
	awaitVersion(t, s, "rules", 1)
	close(gate)
	if next := <-swaps; next.Old != first.New || next.New.Version() != 5 {
		t.Errorf("the next call was told %+v", next)
	}
}

func TestViewDecodes(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	broken := errors.New("no number")
	view, err := subscribe.NewView(handle(s, "prices"), func(key, value []byte) (int, error) {
		switch string(key) {
		case "key1":
			return 0, broken
		case "key2":
			return int(value[len(value)]), nil
		}
		return strconv.Atoi(string(value))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := view.Get("key0"); ok || !errors.Is(err, subscribe.ErrNoVersion) || !strings.Contains(err.Error(), "prices") {
		t.Errorf("before the first version: got %v, %v", ok, err)
	}
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	if v, ok, err := view.Get("key0"); v != 1 || !ok || err != nil {
		t.Errorf("got %v, %v, %v", v, ok, err)
	}
	if _, ok, err := view.Get("nobody"); ok || err != nil {
		t.Errorf("an unknown key: got %v, %v", ok, err)
	}
	if _, ok, err := view.Get("key1"); !ok || !errors.Is(err, broken) || !strings.Contains(err.Error(), `record "key1" of prices/1`) {
		t.Errorf("a record that does not decode: got %v, %v", ok, err)
	}
	if _, ok, err := view.Get("key2"); !ok || err == nil || !strings.Contains(err.Error(), "panic: runtime error: index out of range [1] with length 1 (at ") {
		t.Errorf("a decoder that panics: got %v, %v", ok, err)
	}
	if allocs := testing.AllocsPerRun(100, func() { view.Get("nobody") }); allocs > 0 {
		t.Errorf("a miss allocates %v times", allocs)
	}
}
