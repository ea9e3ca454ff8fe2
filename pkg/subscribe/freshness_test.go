package subscribe_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe"
)

// beacon sends a beacon with the period that names the newest version of each dataset.
func (w *world) beacon(every time.Duration, newest map[string]uint64) {
	w.t.Helper()
	if err := events.SendBeacon(w.nc, "", events.Beacon{Publisher: "p1", Sent: time.Now(), Every: every, Newest: newest}); err != nil {
		w.t.Fatal(err)
	}
}

// awaitState waits until the dataset is in the state, and returns its status.
func awaitState(t testing.TB, s *subscribe.Subscriber, name string, state fleet.State) fleet.DatasetStatus {
	t.Helper()
	var d fleet.DatasetStatus
	await(t, fmt.Sprintf("%s to be %s", name, state), func() bool { d = statusOf(t, s, name); return d.State == state })
	return d
}

// changes keeps the changes of states.
type changes chan string

// observe makes the Observer keep changes in c.
func (c changes) observe(o *subscribe.Observer) {
	o.StateChanged = func(e subscribe.StateChange) {
		if e.Since.IsZero() || e.Since.After(time.Now()) {
			panic(fmt.Sprintf("%s since %s", e.Now, e.Since))
		}
		c <- fmt.Sprintf("%s: %s to %s", e.Dataset, e.Was, e.Now)
	}
}

// Invariant: a version whose event is lost for any reason is served after the next beacon, counted and logged.
func TestLostEventIsHealedByABeacon(t *testing.T) {
	w := newWorld(t)
	book := &logbook{}
	cfg := w.config("prices")
	var losing atomic.Bool
	cfg.NATS = lossy(t, w.nats.URL, func(subject string) bool { return losing.Load() && strings.HasPrefix(subject, "freshet.v1.versions.") })
	cfg.Log = book.logger()
	healed := make(chan uint64, 10)
	cfg.Observer.Healed = func(h subscribe.Healing) { healed <- h.Record.Version }
	s := open(t, cfg)
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)

	losing.Store(true)
	w.publish("prices", 2)
	w.beacon(time.Second, map[string]uint64{"prices": 2})
	awaitVersion(t, s, "prices", 2)
	if v := <-healed; v != 2 {
		t.Errorf("version %d was healed", v)
	}
	// The same for a version that was committed and never announced.
	w.commit("prices", 3, numbered(3))
	w.beacon(time.Second, map[string]uint64{"prices": 3})
	awaitVersion(t, s, "prices", 3)
	losing.Store(false)
	w.publish("prices", 4)
	awaitVersion(t, s, "prices", 4)
	w.beacon(time.Second, map[string]uint64{"prices": 4})
	if d := statusOf(t, s, "prices"); d.State != fleet.Fresh || d.Refreshes.Healed != 2 || d.Newest != 4 || d.Confirmed.IsZero() {
		t.Errorf("the status is %+v", d)
	}
	if !book.has("healed: a beacon named a version of which no event came") || !book.has("a beacon of p1 names version 2 of prices, of which no event came") {
		t.Error("the log does not tell of it")
	}
}

func TestBlindAndBack(t *testing.T) {
	w := newWorld(t)
	reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	w.publish("prices", 1)
	book := &logbook{}
	cfg := w.config("prices")
	cfg.Log = book.logger()
	cfg.BeaconWithin = time.Minute // the period of the second beacon needs it; a shorter one causes a warning
	told := make(changes, 100)
	told.observe(&cfg.Observer)
	s := open(t, cfg)
	awaitVersion(t, s, "prices", 1)
	began := time.Now()
	const every = 50 * time.Millisecond
	w.beacon(every, map[string]uint64{"prices": 1})
	d := awaitState(t, s, "prices", fleet.Blind)
	if blind := d.Since.Sub(d.Confirmed); blind != events.BlindAfter*every || d.Since.Before(began) || d.Version != 1 || d.Error != "" ||
		!strings.Contains(d.Warning, "no beacon has confirmed it for 3 periods of 50ms") {
		t.Errorf("the status is %+v", d)
	}
	w.beacon(time.Minute, map[string]uint64{"prices": 1})
	if d := awaitState(t, s, "prices", fleet.Fresh); d.Warning != "" || !d.Since.After(began) {
		t.Errorf("the status is %+v", d)
	}
	// The same in the reports, the Observer and the log.
	var states []string
	for len(states) == 0 || states[len(states)-1] != "blind to fresh" {
		r, err := reports.Next(w.context())
		if err != nil {
			t.Fatal(err)
		}
		if r.At.IsZero() || r.Kind == "" || r.Instance != "i1" {
			t.Errorf("the report is %+v", r)
		}
		if r.Kind == fleet.OfState {
			states = append(states, fmt.Sprintf("%s to %s", r.Was, r.State))
		}
	}
	if !slices.Contains(states, "fresh to blind") {
		t.Errorf("the reports tell of %q", states)
	}
	for _, state := range states {
		if got := <-told; got != "prices: "+state {
			t.Errorf("the Observer was told %q, the reports %q", got, state)
		}
	}
	if !book.has("level=WARN msg=\"a dataset is in another state\" dataset=prices was=fresh now=blind why=\"no beacon") ||
		!book.has("level=INFO msg=\"a dataset is in another state\" dataset=prices was=blind now=fresh") {
		t.Error("the log does not tell of it")
	}
}

func TestOverdueVersion(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	promise := func(rec *dataset.VersionRecord) { rec.ExpectEvery = dataset.MinExpectEvery }
	rec := w.commitAs("prices", 1, numbered(1), promise)
	w.announce(rec)
	d := awaitState(t, s, "prices", fleet.Overdue)
	if !d.Since.Equal(rec.Created.Add(time.Second)) || d.ExpectEvery != time.Second || d.AgeSeconds < 1 || !d.Created.Equal(rec.Created) || d.Error != "" {
		t.Errorf("the status is %+v", d)
	}
	w.publish("prices", 2) // without a promise
	awaitVersion(t, s, "prices", 2)
	if d := statusOf(t, s, "prices"); d.State != fleet.Fresh || d.ExpectEvery != 0 || d.Served.IsZero() {
		t.Errorf("the status is %+v", d)
	}
}

// A publisher's clock that is ahead makes no age negative.
func TestAgeIsNeverNegative(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.announce(w.commitAs("prices", 1, numbered(1), func(rec *dataset.VersionRecord) { rec.Created = rec.Created.Add(time.Hour) }))
	awaitVersion(t, s, "prices", 1)
	if d := statusOf(t, s, "prices"); d.AgeSeconds != 0 || d.State != fleet.Fresh {
		t.Errorf("the status is %+v", d)
	}
}

// During a failure the status has its error, and afterwards as the last error.
func TestFailureIsRemembered(t *testing.T) {
	w := newWorld(t)
	s := open(t, w.config("prices"))
	w.publish("prices", 1)
	awaitVersion(t, s, "prices", 1)
	w.relay.stop()
	w.publish("prices", 2)
	d := awaitState(t, s, "prices", fleet.Failing)
	if d.Newest != 2 || d.Version != 1 || d.BehindSince.IsZero() || d.Error == "" || d.Refreshes.Failed == 0 || d.LastErrorAt.IsZero() {
		t.Errorf("the status is %+v", d)
	}
	w.relay.restart()
	awaitVersion(t, s, "prices", 2)
	if d := statusOf(t, s, "prices"); d.State != fleet.Fresh || d.Error != "" || !d.BehindSince.IsZero() || !strings.Contains(d.LastError, "connection refused") || d.LastErrorAt.IsZero() {
		t.Errorf("the status is %+v", d)
	}
}
