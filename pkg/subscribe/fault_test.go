package subscribe_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// damaged returns a fault that answers with the object as change has modified it.
func (w *world) damaged(digest dataset.Digest, change func(object []byte) []byte) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, digest.String()) {
			return false
		}
		whole := httptest.NewRecorder()
		if err := w.relay.object(whole, q); err != nil {
			w.t.Error(err)
			return false
		}
		rw.Write(change(whole.Body.Bytes()))
		return true
	}
}

// Invariant: if any bit of an object is flipped in transit, readers see only the version before, and
// the first undamaged answer heals it.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.RetryInitial, cfg.RetryMax = time.Microsecond, time.Microsecond
	var failed atomic.Int64
	cfg.Observer.Failed = func(f subscribe.Failure) {
		if f.Record.Version != 2 || f.Err == nil {
			t.Errorf("version %d failed: %v", f.Record.Version, f.Err)
		}
		failed.Add(1)
	}
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	first := handle(s, "prices").Table()

	rec := w.commit("prices", 2, numbered(2))
	var bit atomic.Int64
	bits := rec.Snapshot.Bytes * 8
	w.relay.fail(w.damaged(rec.Snapshot.Digest, func(object []byte) []byte {
		i := bit.Add(1) - 1
		if i >= bits {
			return object
		}
		if handle(s, "prices").Table() != first {
			t.Errorf("before bit %d was flipped another version was served", i)
		}
		object[i/8] ^= 1 << (i % 8)
		return object
	}))
	w.announce(rec)
	awaitVersion(t, s, "prices", 2)
	if failed.Load() != bits {
		t.Errorf("%d of %d flipped bits were refused", failed.Load(), bits)
	}
}

func TestDamageOfOtherKindsIsRefused(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	rec := w.commit("prices", 2, numbered(2))
	w.announce(rec)
	awaitVersion(t, s, "prices", 2)
	other, _ := build(t, numbered(99))
	for name, change := range map[string]func([]byte) []byte{
		"truncated":      func(b []byte) []byte { return b[:len(b)-1] },
		"empty":          func([]byte) []byte { return nil },
		"something more": func(b []byte) []byte { return append(b, 0) },
		"another object": func([]byte) []byte { return other },
		"HTML":           func([]byte) []byte { return []byte("<html>please log in</html>") },
		"zeros":          func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		t.Run(name, func(t *testing.T) {
			before := handle(s, "prices").Table()
			rec := w.commit("prices", before.Version()+1, numbered(before.Version()+1))
			var served atomic.Int64
			w.relay.fail(w.damaged(rec.Snapshot.Digest, func(b []byte) []byte { served.Add(1); return change(b) }))
			w.announce(rec)
			await(t, "two attempts", func() bool { return served.Load() >= 2 })
			if handle(s, "prices").Table() != before {
				t.Error("damage was served")
			}
			w.relay.fail(nil)
			awaitVersion(t, s, "prices", rec.Version)
		})
	}
}

// A version with complete files that do not match its record fails forever; the next version does not wait for it.
func TestPoisonVersionDoesNotBlockTheNext(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.RetryInitial, cfg.RetryMax = 10*time.Millisecond, time.Hour
	var failed atomic.Pointer[error]
	cfg.Observer.Failed = func(f subscribe.Failure) { failed.Store(&f.Err) }
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	for i, want := range []string{"its state checksum is", "its seed is", "wrong kind of file"} {
		v := uint64(2 + 2*i)
		failed.Store(nil)
		rec := w.commit("prices", v, numbered(v))
		switch i {
		case 0:
			rec.State.Lo++
		case 1:
			rec.Seed++
		case 2:
			rec.Snapshot.Version--
			rec.Deltas = []dataset.Object{{Version: v, Digest: rec.Snapshot.Digest, Bytes: rec.Snapshot.Bytes}} // a snapshot for a delta
		}
		w.announce(rec)
		await(t, "the failure", func() bool { return failed.Load() != nil })
		if err := *failed.Load(); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), rec.ID()) {
			t.Errorf("version %d fails with %v, want %q", v, err, want)
		}
		if got := versionOf(t, handle(s, "prices").Table()); got != v-1 {
			t.Errorf("version %d is served, want %d", got, v-1)
		}
		w.publish("prices", v+1)
		awaitVersion(t, s, "prices", v+1)
	}
}

func TestRelayDownIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	w.relay.stop()
	w.publish("prices", 2)
	await(t, "the failure to be in the status", func() bool {
		d := statusOf(t, s, "prices")
		return d.State == fleet.Failing && strings.Contains(d.Error, "connection refused") && d.Version == 1
	})
	versionOf(t, handle(s, "prices").Table())
	w.relay.restart()
	awaitVersion(t, s, "prices", 2)
}

func TestSecondRelayTakesOver(t *testing.T) {
	w := newWorld(t)
	other := newRelay(t, w.store)
	cfg := w.config("prices")
	cfg.Relays = append(cfg.Relays, other.url)
	s := open(t, cfg)
	w.relay.fail(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.HasPrefix(q.URL.Path, "/v1/objects/") {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	// The order of the relays differs from object to object.
	v := uint64(1)
	for ; w.relay.objects.Load() == 0 && v < 50; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	if w.relay.objects.Load() == 0 || other.objects.Load() != int64(v)-1 {
		t.Errorf("the relays had %d and %d requests for %d objects", w.relay.objects.Load(), other.objects.Load(), v-1)
	}
}

func TestStallIsCancelledAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.StallTimeout = 200 * time.Millisecond
	cfg.CacheDir = t.TempDir()
	var failed atomic.Pointer[error]
	cfg.Observer.Failed = func(f subscribe.Failure) { failed.Store(&f.Err) }
	s := open(t, cfg)
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		rw.WriteHeader(200)
		http.NewResponseController(rw).Flush()
		<-q.Context().Done()
		return true
	})
	w.publish("prices", 1)
	await(t, "the stall to be noticed", func() bool { return failed.Load() != nil })
	if err := *failed.Load(); !strings.Contains(err.Error(), "stalled") {
		t.Errorf("the failure is %v", err)
	}
	w.relay.fail(nil)
	awaitVersion(t, s, "prices", 1)
}

func TestNATSRestart(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	for v := uint64(2); v <= 3; v++ {
		w.nats.Kill()
		rec := w.commit("prices", v, numbered(v))
		versionOf(t, handle(s, "prices").Table())
		w.nats.Start()
		w.announce(rec)
		awaitVersion(t, s, "prices", v)
	}
}

// The version is in the log, but its event was sent while the subscriber had no connection: only a catch-up finds
// it.
func TestReconnectCatchesUp(t *testing.T) {
	w := newWorld(t)
	p := newProxy(t, w.nats.URL)
	cfg := w.config("prices")
	cfg.NATS = p.url
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	p.cut()
	w.publish("prices", 2)
	w.publish("prices", 3)
	p.mend()
	awaitVersion(t, s, "prices", 3)
}

// A stream that was deleted and created again is empty; the relays know the versions.
func TestStreamLostMeansTheRelaysAreAsked(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, w.config("prices", "rules"))
	awaitVersion(t, s, "prices", 1)
	if err := js.DeleteStream(w.context(), "FRESHET"); err != nil {
		t.Fatal(err)
	}
	w.commit("prices", 2, numbered(2)) // the publisher died before it announced it
	w.nats.Restart()
	awaitVersion(t, s, "prices", 2)
	if err := w.log.Ensure(w.context()); err != nil {
		t.Fatal(err)
	}
	w.announce(w.commit("prices", 3, numbered(3))) // has a lower place in the stream than version 1 had
	awaitVersion(t, s, "prices", 3)
}

func TestEventThatIsNotReadableMeansTheRelaysAreAsked(t *testing.T) {
	w := newWorld(t)
	w.commit("prices", 1, numbered(1))
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(w.context(), "freshet.v1.versions.prices", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	s := open(t, w.config("prices"))
	awaitVersion(t, s, "prices", 1)
}

func TestOpenWhileNATSIsDown(t *testing.T) {
	w := newWorld(t)
	w.publish("prices", 1)
	w.nats.Kill()
	s := open(t, w.config("prices", "rules"))
	awaitVersion(t, s, "prices", 1) // from the relay
	w.nats.Start()
	w.publish("prices", 2)
	w.publish("rules", 1)
	awaitVersion(t, s, "prices", 2)
	awaitVersion(t, s, "rules", 1)
}

// A relay that trickles bytes never stalls, and a newer version does not cut it off.
func TestSlowPullIsLeftToEnd(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.StallTimeout = 400 * time.Millisecond
	s := open(t, cfg)
	rec := w.commit("prices", 1, numbered(1))
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, rec.Snapshot.Digest.String()) {
			return false
		}
		body, err := w.store.OpenObject(context.Background(), rec.Snapshot.Digest, 0, -1)
		if err != nil {
			t.Error(err)
			return false
		}
		defer body.Close()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for piece := make([]byte, rec.Snapshot.Bytes/12); ; {
			n, err := io.ReadFull(body, piece)
			rw.Write(piece[:n])
			http.NewResponseController(rw).Flush()
			if err != nil {
				return true
			}
			<-tick.C
		}
	})
	swapped := make(chan uint64, 10)
	if _, err := handle(s, "prices").OnSwap(func(swap subscribe.Swap) { swapped <- swap.New.Version() }); err != nil {
		t.Fatal(err)
	}
	w.announce(rec)
	await(t, "the pull to begin", func() bool { return w.relay.objects.Load() > 0 })
	w.publish("prices", 2)
	if v := <-swapped; v != 1 {
		t.Errorf("version %d was served first, want 1", v)
	}
	awaitVersion(t, s, "prices", 2)
	if n := w.relay.objects.Load(); n != 2 {
		t.Errorf("%d pulls, want 2", n)
	}
}

// A late event of a version below the served one changes nothing and pulls nothing.
func TestLateEventIsANoOp(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	old := w.publish("prices", 1)
	w.publish("prices", 2)
	awaitVersion(t, s, "prices", 2)
	pulls := w.relay.objects.Load()
	event, err := dataset.EncodeEvent(old)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := w.nc.Publish("freshet.v1.versions.prices", event); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.nc.Publish("freshet.v1.versions.prices", bytes.Repeat([]byte("x"), 100)); err != nil { // and one that is none
		t.Fatal(err)
	}
	w.publish("prices", 3)
	awaitVersion(t, s, "prices", 3)
	if n := w.relay.objects.Load() - pulls; n != 1 {
		t.Errorf("%d pulls, want 1", n)
	}
}
