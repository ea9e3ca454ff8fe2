package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/store"
	"freshet.dev/services/relay/internal/upstream"
)

// Invariant: a broken read continues at the byte where it broke, and nothing is read twice.
func TestReadContinuesAtAnotherRelay(t *testing.T) {
	const from, to, broke = 1000, 900_000, 300_000
	for name, then := range map[string]http.HandlerFunc{"killed": abort, "stalled": silent} {
		t.Run(name, func(t *testing.T) {
			first, second := serve(t, cut(broke, then)), serve(t, whole)
			o, log := open(t, 4*time.Second, ranked(t, first, second)...)
			if err := read(t.Context(), o, from, to); err != nil {
				t.Fatal(err)
			}
			if asked, want := fmt.Sprint(second.asks()), fmt.Sprintf("[GET bytes=%d-%d]", from+broke, to-1); asked != want {
				t.Errorf("the requests to the second relay are %s, want %s", asked, want)
			}
			h, lines := o.Health(), log.lines()
			if h[0].Failures != 1 || h[1].Failures != 0 || len(lines) != 1 || !strings.Contains(lines[0], "ends at byte 301000") {
				t.Errorf("%+v, %q", h, lines)
			}
			secret(t, h, lines)
		})
	}
}

// A read continues at the same relay after its restart, if it is the only relay.
func TestReadContinuesAtTheSameRelay(t *testing.T) {
	var only *fake
	only = serve(t, cut(1000, func(http.ResponseWriter, *http.Request) { only.become(whole) }))
	o, log := open(t, time.Minute, only.URL)
	if err := read(t.Context(), o, 0, 5000); err != nil {
		t.Error(err)
	}
	if lines := log.lines(); len(lines) != 2 || o.Health()[0].Failures != 1 {
		t.Errorf("%q, %+v", lines, o.Health())
	}
}

// Invariant: a relay that breaks off between the header and the first byte costs a read nothing, wherever the read begins, with
// another relay and with the same one.
func TestBreakBeforeTheFirstByte(t *testing.T) {
	for _, from := range []int{0, 1000} {
		first, second := serve(t, headerOnly), serve(t, whole)
		o, _ := open(t, time.Minute, ranked(t, first, second)...)
		if err := read(t.Context(), o, from, 5000); err != nil {
			t.Errorf("from %d with another relay: %v", from, err)
		}
		var only *fake
		only = serve(t, func(w http.ResponseWriter, r *http.Request) {
			only.become(whole)
			headerOnly(w, r)
		})
		o, _ = open(t, time.Minute, only.URL)
		if err := read(t.Context(), o, from, 5000); err != nil {
			t.Errorf("from %d with the same relay: %v", from, err)
		}
	}
}

// Invariant: relays that all break off are queried a few times and not forever, and the error says how each failed.
func TestReadEnds(t *testing.T) {
	for name, c := range map[string]struct {
		second http.HandlerFunc
		asked  int   // requests to the first relay, at most
		want   error // nil: none of the known ones
	}{
		"both break off":     {cut(10, abort), 2, nil},
		"the other is down":  {abort, 2, nil},
		"the other is busy":  {status(503), 2, upstream.ErrBusy},
		"the other has none": {status(404), 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var first *fake
			first = serve(t, cut(10, func(http.ResponseWriter, *http.Request) {
				if name != "both break off" {
					first.become(abort)
				}
			}))
			second := serve(t, c.second)
			o, _ := open(t, time.Minute, ranked(t, first, second)...)
			err := read(t.Context(), o, 0, 5000)
			if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, context.Canceled) || c.want != nil && !errors.Is(err, c.want) ||
				!strings.Contains(err.Error(), "ends at byte") {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if n := len(first.asks()); n > c.asked {
				t.Errorf("the first relay received %d requests", n)
			}
			secret(t, err)
		})
	}
}

// Invariant: a body that is closed or canceled in the middle is not a failure of a relay.
func TestCanceledBody(t *testing.T) {
	first, second := serve(t, cut(1000, silent)), serve(t, whole)
	o, log := open(t, time.Minute, ranked(t, first, second)...)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body, err := o.OpenObject(ctx, digest, 0, 5000)
	if err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 1000; {
		n, err := body.Read(make([]byte, 5000))
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	leave()
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body gives bytes")
	}
	if h := o.Health(); h[0].Failures != 0 || len(second.asks()) != 0 || len(log.lines()) != 0 {
		t.Errorf("%+v", h)
	}
}
