package subscribe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/pin"
	"freshet.dev/pkg/subscribe"
)

// pinWorld is a world with versions of "prices" that have ids, and pins.
type pinWorld struct {
	*world
	pins pin.Pins
	last dataset.VersionRecord
	lost atomic.Bool // entries are not sent
}

func newPinWorld(t *testing.T) *pinWorld {
	w := &pinWorld{world: newWorld(t)}
	j, err := journal.New(journal.Config{}, journal.Deps{Store: w.store, Announce: func(ctx context.Context, e dataset.Entry) error {
		if w.lost.Load() {
			return nil
		}
		return events.SendEntry(ctx, w.nc, "", e)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.pins = pin.Pins{Journal: j, Store: w.store}
	return w
}

// next commits and announces the next version.
func (w *pinWorld) next() dataset.VersionRecord {
	w.t.Helper()
	id, err := w.store.EnsureID(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	before := w.last
	w.last = w.commitAs("prices", before.Version+1, numbered(before.Version+1), func(rec *dataset.VersionRecord) {
		if rec.StoreID = id; before.Version > 0 {
			rec.Previous = before.VersionID()
		}
	})
	w.announce(w.last)
	return w.last
}

func (w *pinWorld) pin(version uint64, sel fleet.Selection) pin.Result {
	w.t.Helper()
	result, err := w.pins.Set(w.t.Context(), pin.Input{Dataset: "prices", Version: version, Select: sel, Audit: pin.Audit{By: "ann", Reason: "wrong prices"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

func (w *pinWorld) unpin(sel fleet.Selection) {
	w.t.Helper()
	if _, err := w.pins.Unset(w.t.Context(), "prices", sel, pin.Audit{Reason: "they are right"}); err != nil {
		w.t.Fatal(err)
	}
}

var everyInstance = fleet.Selection{All: true}

// awaitPinned waits until the version is served and pinned, and checks the content.
func (w *pinWorld) awaitPinned(s *subscribe.Subscriber, version uint64) {
	w.t.Helper()
	await(w.t, "the pinned version", func() bool {
		d := statusOf(w.t, s, "prices")
		return d.State == fleet.Pinned && d.Version == version && d.Pin != nil
	})
	awaitVersion(w.t, s, "prices", version)
}

func TestPinnedInstance(t *testing.T) {
	w := newPinWorld(t)
	cfg := w.config("prices")
	cfg.Labels = map[string]string{"tier": "canary"}
	s := open(t, cfg)
	w.next()
	w.next()
	awaitVersion(t, s, "prices", 2)
	w.pin(2, fleet.Selection{Labels: map[string]string{"tier": "canary"}})
	w.awaitPinned(s, 2)
	w.next()
	w.pin(1, fleet.Selection{Instances: []string{"another"}})
	await(t, "the third version to be known", func() bool { return statusOf(t, s, "prices").Newest == 3 })
	d := statusOf(t, s, "prices")
	if d.State != fleet.Pinned || d.Version != 2 || !d.BehindSince.IsZero() || d.Pin.Reason != "wrong prices" || d.PinnedUntil.Sub(d.Pin.At) != subscribe.DefaultPinFor {
		t.Errorf("the status is %+v", d)
	}
	w.pin(1, fleet.Selection{Instances: []string{"i1"}})
	w.awaitPinned(s, 1)
	w.unpin(fleet.Selection{Instances: []string{"i1"}})
	w.awaitPinned(s, 2)
	w.unpin(everyInstance)
	awaitVersion(t, s, "prices", 3)
	if d := statusOf(t, s, "prices"); d.Pin != nil {
		t.Errorf("after the unpin the status is %+v", d)
	}
}

// A restart with every server down holds the pinned version, which is in the cache folder with its pin.
func TestPinnedRestartWithEverythingDown(t *testing.T) {
	w := newPinWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.next()
	w.next()
	awaitVersion(t, s, "prices", 2)
	w.pin(1, everyInstance)
	w.awaitPinned(s, 1)
	kept := filepath.Join(cfg.CacheDir, "prices", "pins.json")
	await(t, "the cache folder to have the pinned version and the pin", func() bool {
		record, err := os.ReadFile(filepath.Join(cfg.CacheDir, "prices", "version.json"))
		pins, pinsErr := os.ReadFile(kept)
		return err == nil && pinsErr == nil && bytes.Contains(record, []byte(`"version":1,`)) && bytes.Contains(pins, []byte(`"versions":[{`))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.down()

	s = open(t, cfg)
	w.awaitPinned(s, 1)
	if d := statusOf(t, s, "prices"); d.From != fleet.Cache || !strings.Contains(d.Warning, "that the pin was removed may not be known") {
		t.Errorf("the status is %+v", d)
	}
	w.nats.Start() // before the relay, so that the pin alone holds the instance
	await(t, "NATS", w.nc.IsConnected)
	if err := w.log.Ensure(w.context()); err != nil {
		t.Fatal(err)
	}
	w.next()
	await(t, "the third version to be known", func() bool { return statusOf(t, s, "prices").Newest == 3 })
	w.awaitPinned(s, 1)
	w.relay.restart()
	w.unpin(everyInstance)
	awaitVersion(t, s, "prices", 3)
}

// A damaged copy of the pins is not followed, and the relay's answer replaces it.
func TestDamagedPinsInTheCacheFolder(t *testing.T) {
	w := newPinWorld(t)
	cfg := w.config("prices")
	cfg.CacheDir = filepath.Join(t.TempDir(), "cache")
	w.next()
	w.next()
	w.pin(1, everyInstance)
	s, err := subscribe.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.awaitPinned(s, 1)
	kept := filepath.Join(cfg.CacheDir, "prices", "pins.json")
	await(t, "the pins in the cache folder", func() bool { _, err := os.Stat(kept); return err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(text, []byte(`"version":1`), []byte(`"version":2`), 1)
	if err := os.WriteFile(kept, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	book := &logbook{}
	cfg.Log = book.logger()
	s = open(t, cfg)
	w.awaitPinned(s, 1)
	await(t, "the pins to be written again", func() bool {
		text, err := os.ReadFile(kept)
		return err == nil && !bytes.Equal(text, damaged)
	})
	await(t, "the warning to end", func() bool { return !strings.Contains(statusOf(t, s, "prices").Warning, "pins") })
	if !book.has("the pins in the cache folder cannot be read") {
		t.Error("the log does not say so")
	}
}

// A pin whose message was lost is followed when a beacon names its journal entry. A relay that cannot answer is queried again.
func TestLostPin(t *testing.T) {
	w := newPinWorld(t)
	s := open(t, w.config("prices"))
	w.next()
	w.next()
	awaitVersion(t, s, "prices", 2)
	var refused atomic.Int64
	w.relay.fail(func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, "/pins") || refused.Add(1) > 2 {
			return false
		}
		http.Error(rw, "no", http.StatusInternalServerError)
		return true
	})
	w.lost.Store(true)
	w.pin(1, everyInstance)
	id, err := w.store.ID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := events.SendBeacon(w.nc, "", events.Beacon{
		Publisher: "p1", Sent: time.Now(), Every: time.Second, Store: id, Newest: map[string]uint64{"prices": 2},
		IDs: map[string]dataset.VersionID{"prices": w.last.VersionID()}, Journal: map[string]uint64{"prices": 1},
	}); err != nil {
		t.Fatal(err)
	}
	w.awaitPinned(s, 1)
}

// A pin that is older than the setting makes the instance stale, with the reason, as soon as there is a newer version.
func TestOldPin(t *testing.T) {
	w := newPinWorld(t)
	cfg := w.config("prices")
	cfg.PinFor = time.Millisecond
	s := open(t, cfg)
	w.next()
	awaitVersion(t, s, "prices", 1)
	w.pin(1, everyInstance)
	w.awaitPinned(s, 1)
	w.next()
	await(t, "the dataset to lag", func() bool {
		d := statusOf(t, s, "prices")
		return d.State == fleet.Lagging && d.Version == 1 && d.BehindSeconds > 0 && strings.Contains(d.Warning, "the pin is older than 1ms (FRESHET_PIN_FOR), and version 2 is newer")
	})
}

// pinsOf answers for the pins in the store.
func (r *relay) pinsOf(w http.ResponseWriter, q *http.Request) error {
	j, err := journal.New(journal.Config{}, journal.Deps{Store: r.store})
	if err != nil {
		return err
	}
	pins, err := j.Pins(q.Context(), strings.TrimSuffix(strings.TrimPrefix(q.URL.Path, "/v1/datasets/"), "/pins"))
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(pins)
}
