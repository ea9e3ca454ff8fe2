package subscribe_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// all returns an Observer whose functions all call f with the name of the function.
func all(f func(name string)) (o subscribe.Observer, names []string) {
	v := reflect.ValueOf(&o).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		names = append(names, name)
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value { f(name); return nil }))
	}
	return o, names
}

// callAll calls every function of o with a zero event.
func callAll(o subscribe.Observer) {
	v := reflect.ValueOf(o)
	for i := range v.NumField() {
		v.Field(i).Call([]reflect.Value{reflect.Zero(v.Field(i).Type().In(0))})
	}
}

// Every event reaches every observer of a tee once, in order; observers without the function are left out.
func TestTeeObserver(t *testing.T) {
	var got []string
	first, names := all(func(name string) { got = append(got, "first "+name) })
	second, _ := all(func(name string) { got = append(got, "second "+name) })
	callAll(subscribe.TeeObserver(first, subscribe.Observer{}, second))
	var want []string
	for _, name := range names {
		want = append(want, "first "+name, "second "+name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	callAll(subscribe.TeeObserver()) // every function may be called
}

// A panic in one observer of a tee does not keep the event from the others, and continues afterwards.
func TestPanicInATee(t *testing.T) {
	received := false
	o := subscribe.TeeObserver(
		subscribe.Observer{Failed: func(subscribe.Failure) { panic("an observer") }},
		subscribe.Observer{Failed: func(subscribe.Failure) { received = true }})
	defer func() {
		if p := recover(); p == nil || !received {
			t.Errorf("recovered %v, the second observer received the event: %t", p, received)
		}
	}()
	o.Failed(subscribe.Failure{})
}

// An attempt that fails, a callback that panics and a record that does not decode are events, as are the cache folder's.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	failures, callbacks, decodes := make(chan subscribe.Failure, 100), make(chan subscribe.CallbackFailure, 100), make(chan subscribe.DecodeFailure, 100)
	refusals, refreshes := make(chan subscribe.RelayRefusal, 100), make(chan subscribe.Refresh, 100)
	cfg.Observer = subscribe.TeeObserver(subscribe.Observer{
		Failed:       func(e subscribe.Failure) { failures <- e },
		RelayRefused: func(e subscribe.RelayRefusal) { refusals <- e },
	}, subscribe.Observer{
		Swapped:        func(e subscribe.Refresh) { refreshes <- e },
		CallbackFailed: func(e subscribe.CallbackFailure) { callbacks <- e },
		DecodeFailed:   func(e subscribe.DecodeFailure) { decodes <- e },
	})
	s := open(t, cfg)
	prices := handle(s, "prices")
	stop, err := prices.OnSwap(func(subscribe.Swap) { panic("in the callback") })
	if err != nil {
		t.Fatal(err)
	}
	decode := func(key, _ []byte) (int, error) {
		if string(key) == "key1" {
			panic("in decode")
		}
		return 0, nil
	}
	if _, err := subscribe.NewView(prices, decode, subscribe.Eager()); err != nil {
		t.Fatal(err)
	}
	lazy, err := subscribe.NewView(prices, decode)
	if err != nil {
		t.Fatal(err)
	}

	rec := w.commit("prices", 1, numbered(1))
	var damage atomic.Bool
	damage.Store(true)
	w.relay.fail(w.damaged(rec.Snapshot.Digest, func(object []byte) []byte {
		if damage.Swap(false) {
			object[len(object)/2] ^= 1
		}
		return object
	}))
	w.announce(rec)
	awaitVersion(t, s, "prices", 1)
	if e := <-refusals; e.Relay != w.relay.url || e.Object.Digest != rec.Snapshot.Digest || e.Err == nil {
		t.Errorf("the refusal is %+v", e)
	}
	if e := <-failures; e.Record.ID() != "prices/1" || e.Err == nil || e.Attempt != 1 || e.Retry.IsZero() {
		t.Errorf("the failure is %+v", e)
	}
	if e := <-refreshes; e.Record.ID() != "prices/1" || e.At.IsZero() || e.From != fleet.Relay {
		t.Errorf("the refresh is %+v", e)
	}
	if e := <-callbacks; e.Dataset != "prices" || e.Version != 1 || e.Pause <= 0 || !strings.Contains(e.Err.Error(), "in the callback") {
		t.Errorf("the failure of the callback is %+v", e)
	}
	stop()
	if e := <-decodes; e.Dataset != "prices" || e.Version != 1 || e.Records != 1 || !strings.Contains(e.Err.Error(), "in decode") {
		t.Errorf("the failure of the eager view is %+v", e)
	}
	for range 3 { // one event for the version
		if _, _, err := lazy.Get("key1"); err == nil {
			t.Error("a decode function that panics returns no error")
		}
	}
	if e := <-decodes; e.Records != 0 || e.Version != 1 || !strings.Contains(e.Err.Error(), "in decode") {
		t.Errorf("the failure of the lazy view is %+v", e)
	}
	if len(decodes) != 0 {
		t.Errorf("there is another failure: %+v", <-decodes)
	}
}

// A panic in any function of the caller's Observer reaches no other part of the subscriber.
func TestPanicsOfObserverAreContained(t *testing.T) {
	var errs []error
	o, names := all(func(name string) { panic(errors.New(name)) })
	guarded := subscribe.Guarded(o, func(err error) { errs = append(errs, err) })
	callAll(guarded)
	if len(errs) != len(names) {
		t.Fatalf("%d panics are reported, want %d", len(errs), len(names))
	}
	for i, err := range errs {
		if want := fmt.Sprintf("panic: %s (at ", names[i]); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
