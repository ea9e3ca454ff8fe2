package e2e

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// Invariant: a decoder that panics on 1 % of versions costs what it panics for and nothing else. For 2,000 versions (10,000 in scripts/test --long) an instance of the
// server panics in 1 % of its refreshes: it says so, serves the version before, and the next. A service with the library panics on 1 % of the
// records that it decodes and in 1 % of its callbacks: it has an error for the first and a warning for the second, and every other record
// of every version is right. Neither has a goroutine or a file more afterwards.
func TestFaultDecoderPanics(t *testing.T) {
	versions := 2000
	if testing.Short() {
		versions = 500
	}
	versions = soaked(t, "PANIC_VERSIONS", versions)
	tr := newTrial(t, fmt.Sprintf("decoder panics on 1 %% of %d versions", versions), setting{failing: true, instances: 1, keys: 40})
	instance := tr.instances[0]
	own := newFragile(t, tr)
	own.settled(t, tr)
	goroutines, files := own.usage(t)
	tr.begin()
	instance.points.arm(t, "refreshLoad", `1.0%panic("a decoder")`)
	for n := range versions {
		tr.publish()
		if n%100 == 0 { // whatever panics, and however fast versions come: nobody is left behind
			own.follows(t, tr)
		}
	}
	instance.points.disarm(t, "refreshLoad")
	tr.end()
	own.follows(t, tr)
	tr.await("all panics are over", func(d fleet.DatasetStatus) error {
		if d.Refreshes.Panicked < uint64(versions/400) || !strings.Contains(d.LastError, "a decoder") {
			return fmt.Errorf("%d refreshes panicked, the last failed with %q: this test shows nothing", d.Refreshes.Panicked, d.LastError)
		}
		return nil
	})
	tr.healed()
	own.follows(t, tr)
	eventually(t, func(context.Context) error {
		g, f := own.usage(t)
		if g > goroutines+spare.goroutines || f > files+spare.files {
			return fmt.Errorf("the service has %d goroutines and %d files, and had %d and %d", g, f, goroutines, files)
		}
		return nil
	})
	d, _ := own.sub.Status().Dataset(tr.name)
	t.Logf("the service: %d panics of the decoder, %d of the callback, %+v", own.decoder.Load(), own.callback.Load(), d.Refreshes)
	if own.decoder.Load() < uint64(versions/400) || own.callback.Load() < uint64(versions/400) {
		t.Error("there were hardly any panics: this test shows nothing")
	}
}

// fragile is a service that uses the library in this process and panics on some values.
type fragile struct {
	sub               *subscribe.Subscriber
	prices            *subscribe.Dataset
	eager, lazy       *subscribe.View[string]
	decoder, callback atomic.Uint64 // panics
	swapped           atomic.Uint64 // the version that the callback was called with last
}

func newFragile(t *testing.T, tr *trial) *fragile {
	t.Helper()
	f := &fragile{}
	var err error
	f.sub, err = subscribe.Open(t.Context(), subscribe.Config{
		NATS: tr.NATS.URL, Relays: []string{tr.Relay.URL}, Datasets: []string{tr.name}, CacheDir: t.TempDir(), Instance: "fragile",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.sub.Close(); err != nil {
			t.Error(err)
		}
	})
	if f.prices, err = f.sub.Dataset(tr.name); err != nil {
		t.Fatal(err)
	}
	decode := func(_, value []byte) (string, error) {
		if cursed(value) {
			f.decoder.Add(1)
			panic("a decoder")
		}
		return string(value), nil
	}
	if f.eager, err = subscribe.NewView(f.prices, decode, subscribe.Eager()); err != nil {
		t.Fatal(err)
	}
	if f.lazy, err = subscribe.NewView(f.prices, decode); err != nil {
		t.Fatal(err)
	}
	_, err = f.prices.OnSwap(func(s subscribe.Swap) {
		f.swapped.Store(s.New.Version())
		if s.New.Version()%100 == 0 {
			f.callback.Add(1)
			panic("a callback")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// cursed matches 1 % of all values, on which the decoder always panics.
func cursed(value []byte) bool {
	h := fnv.New32a()
	_, _ = h.Write(value)
	return h.Sum32()%100 == 0
}

// follows waits until the service has processed the newest version.
func (f *fragile) follows(t *testing.T, tr *trial) {
	t.Helper()
	newest := tr.newest()
	eventually(t, func(context.Context) error {
		table, eager, lazy, swapped := f.prices.Table(), f.eager.Version(), f.lazy.Version(), f.swapped.Load()
		if table == nil || table.Version() != newest || eager != newest || lazy != newest || swapped != newest {
			return fmt.Errorf("the table is at %v, the eager view at version %d, the lazy one at %d, the callback at %d; the newest is %d", table, eager, lazy, swapped, newest)
		}
		return nil
	})
	f.check(t, tr)
}

// check compares the views with the ledger.
func (f *fragile) check(t *testing.T, tr *trial) {
	t.Helper()
	want := tr.history[len(tr.history)-1]
	for n := range tr.keys {
		key := fmt.Sprintf("key-%d", n)
		for what, view := range map[string]*subscribe.View[string]{"eager": f.eager, "lazy": f.lazy} {
			got, ok, err := view.Get(key)
			value, there := want[key]
			switch {
			case ok != there:
				t.Fatalf("%s view: %s is there: %t, want %t", what, key, ok, there)
			case cursed([]byte(value)) != (err != nil), err != nil && !strings.Contains(err.Error(), "a decoder"):
				t.Fatalf("%s view: %s has the error %v; the decoder panics on it: %t", what, key, err, cursed([]byte(value)))
			case err == nil && got != value:
				t.Fatalf("%s view: %s is %q, want %q", what, key, got, value)
			}
		}
	}
}

// settled waits until the service serves the newest version.
func (f *fragile) settled(t *testing.T, tr *trial) {
	t.Helper()
	eventually(t, func(context.Context) error {
		d, _ := f.sub.Status().Dataset(tr.name)
		if d.Version != tr.newest() || d.State != fleet.Fresh {
			return fmt.Errorf("the service says %s of version %d, want fresh of %d", d.State, d.Version, tr.newest())
		}
		return nil
	})
}

// usage returns the goroutines that the library or its connection started in the test's process, and the open files of the whole
// process.
func (f *fragile) usage(t *testing.T) (goroutines, files int) {
	t.Helper()
	text := make([]byte, 4<<20)
	text = text[:runtime.Stack(text, true)]
	for g := range bytes.SplitSeq(text, []byte("\n\n")) {
		if bytes.Contains(g, []byte("freshet.dev/pkg/subscribe")) || bytes.Contains(g, []byte("nats-io/nats.go")) {
			goroutines++
		}
	}
	files, err := openFiles("self")
	if err != nil {
		t.Fatal(err)
	}
	return goroutines, files
}
