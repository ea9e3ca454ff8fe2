package subscribe_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// Invariant: a relay that gives wrong bytes costs no failed refresh as long as there is another, and is named in the log
// and in the status.
func TestRelayThatGivesWrongBytesIsReported(t *testing.T) {
	w := newWorld(t)
	good := newRelay(t, w.store)
	cfg := w.config("prices")
	cfg.Relays = append(cfg.Relays, good.url)
	var book logbook
	cfg.Log = book.logger()
	cfg.Observer.Failed = func(f subscribe.Failure) { t.Errorf("version %d failed: %v", f.Record.Version, f.Err) }
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasPrefix(q.URL.Path, "/v1/objects/") {
			return false
		}
		whole := httptest.NewRecorder()
		if err := w.relay.object(whole, q); err != nil {
			t.Error(err)
			return false
		}
		b := whole.Body.Bytes()
		b[len(b)/2] ^= 1
		rw.Write(b)
		return true
	})
	s := open(t, cfg)
	// The order of the relays differs from object to object.
	for v := uint64(1); w.relay.objects.Load() == 0 && v < 50; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	status := s.Status()
	bad := fleet.RelayStatus{Relay: w.relay.url, Standing: fleet.Distrusted, Refusals: 1, Error: status.Relays[0].Error}
	if status.Relays[0] != bad || bad.Error == "" || status.Relays[1].Standing != fleet.Good {
		t.Errorf("the status says of the relays %+v, want %+v and a good one", status.Relays, bad)
	}
	if d, _ := status.Dataset("prices"); !strings.Contains(d.Warning, w.relay.url) || d.State != fleet.Fresh {
		t.Errorf("the status says of the dataset %+v, want a warning with %s", d, w.relay.url)
	}
	if !book.has("a relay gave wrong bytes") || !book.has("relay="+w.relay.url) {
		t.Error("the log does not tell of the relay")
	}
	// The next versions come from the other relay alone.
	asked := w.relay.objects.Load()
	newest := handle(s, "prices").Table().Version()
	for v := newest + 1; v <= newest+10; v++ {
		w.publish("prices", v)
		awaitVersion(t, s, "prices", v)
	}
	if n := w.relay.objects.Load() - asked; n != 0 {
		t.Errorf("the distrusted relay was asked %d times more", n)
	}
}

func busy(rw http.ResponseWriter) {
	rw.Header().Set("Retry-After", "1")
	rw.WriteHeader(http.StatusServiceUnavailable)
}

// Invariant: the instance waits for a relay that answers with Retry-After, and the wait is neither a failure nor a stall.
func TestBusyRelayIsNoFailure(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.StallTimeout = 20 * time.Second
	cfg.Observer.Failed = func(f subscribe.Failure) { t.Errorf("version %d failed: %v", f.Record.Version, f.Err) }
	var times atomic.Int64
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasPrefix(q.URL.Path, "/v1/objects/") || times.Add(1) > 2 {
			return false
		}
		busy(rw)
		return true
	})
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	if n := times.Load(); n != 3 {
		t.Errorf("the relay was asked %d times, want 3", n)
	}
}

// Invariant: an instance that has waited for busy relays for the stall timeout reports that they are busy,
// not that the refresh hangs, and retries.
func TestBusyForLongIsAFailureThatSaysSo(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("prices")
	cfg.StallTimeout = 2500 * time.Millisecond
	var failed atomic.Pointer[error]
	cfg.Observer.Failed = func(f subscribe.Failure) { failed.Store(&f.Err) }
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasPrefix(q.URL.Path, "/v1/objects/") {
			return false
		}
		busy(rw)
		return true
	})
	s := open(t, cfg)
	w.publish("prices", 1)
	await(t, "the failure", func() bool { return failed.Load() != nil })
	if err := *failed.Load(); !strings.Contains(err.Error(), "503") || strings.Contains(err.Error(), "no progress") {
		t.Errorf("the failure is %v, want that the relay answers 503", err)
	}
	w.relay.fail(nil)
	awaitVersion(t, s, "prices", 1)
}
