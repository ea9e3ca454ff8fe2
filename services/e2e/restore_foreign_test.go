package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/nats-io/nats.go"
)

// Invariant: a well-formed event of a version that is in no store costs each instance at most one failed attempt: all are fresh again
// within a few beacons, also one that is started again or new, and the next version is announced and served.
func TestEventOfAVersionThatIsInNoStore(t *testing.T) {
	w := newRestoration(t, 1)
	for _, k := range []kind{running, restarted} {
		w.follow(string(k), true)
	}
	w.patch(8)
	w.follows("before the event")
	settled := time.Now()
	before := w.failures()
	w.announce(farEvent(t, w.name, 1_000_000))
	const few = 5*shortBeacon + late
	for _, i := range w.fleet {
		eventuallyIn(t, followsWithin, func(ctx context.Context) error {
			d, err := (&subject{program: i.program, name: w.name}).status(ctx)
			if err == nil && d.Refreshes.Failed == before[i.name] && time.Since(settled) < few {
				err = fmt.Errorf("%s: it has not heard the event yet", i.name) // or it never tries what no beacon confirms
			}
			return err
		})
	}
	w.follows("the event was heard")
	w.cost("event of a version that is in no store", settled, settled)
	if took := time.Since(settled); took > 2*few {
		t.Errorf("instances are fresh again %v after the event, want at most %v", took, 2*few)
	}
	w.fleet[1].stop()
	w.fleet[1].start()
	w.follow("new", false)
	w.follows("instances were started after the event")
	w.publishWaiting()
	w.follows("the next version")
	for name, n := range w.failures() {
		if n > before[name]+1 {
			t.Errorf("%s failed to refresh %d times because of one event, want at most once", name, n-before[name])
		}
	}
	w.checkClaims(settled, settled)
}

// failures returns how many attempts to refresh failed on each instance since it was started.
func (w *restoration) failures() map[string]uint64 {
	w.t.Helper()
	all := map[string]uint64{}
	for _, i := range w.fleet {
		d, err := (&subject{program: i.program, name: w.name}).status(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		all[i.name] = d.Refreshes.Failed
	}
	return all
}

// farEvent returns the event of a version whose object does not exist in any store.
func farEvent(t *testing.T, name string, version uint64) []byte {
	t.Helper()
	rec := dataset.VersionRecord{
		Dataset: name, Version: version, Seed: 7, State: dataset.Checksum{Records: 3}, PayloadBytes: 300, Created: time.Now(), Source: "nobody",
		Snapshot: dataset.Object{Version: version, Digest: sha256.Sum256([]byte("nobody has this")), Bytes: 300},
	}
	event, err := dataset.EncodeEvent(rec)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// announce publishes the event to the event log and waits until the log contains it.
func (w *restoration) announce(event []byte) {
	w.t.Helper()
	if _, err := jetStream(w.t, w.NATS.URL).PublishMsg(w.t.Context(), &nats.Msg{Subject: dataset.SubjectRoot("") + "versions." + w.name, Data: event}); err != nil {
		w.t.Fatal(err)
	}
}

// publishWaiting publishes changes with `freshet publish --wait`, which ends when every instance serves the version.
func (w *restoration) publishWaiting() {
	w.t.Helper()
	text, next := w.change(8)
	file := filepath.Join(w.t.TempDir(), "changes.ndjson")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.freshet(w.t.Context(), "publish", w.name, file, "--key", "key", "--patch", "--wait", "--wait-timeout", followsWithin.String()); err != nil {
		w.t.Errorf("publish version %d: %v", w.newest()+1, err)
	}
	w.history = append(w.history, next)
}

// Invariant: a publisher over another store, on the same NATS and Redis, takes no instance from its own store, whether its versions
// have higher numbers or lower ones, and whether an instance runs, is started again or is new.
func TestPublisherOfAnotherStore(t *testing.T) {
	w := newRestoration(t, 2)
	for _, k := range []kind{running, restarted, cacheless} {
		w.follow(string(k), k != cacheless)
	}
	for w.newest() < 3 {
		w.patch(8)
	}
	w.follows("before the other publisher")
	began := time.Now()

	other := w.otherStore(3)
	w.stays("the other store has a version at each of our numbers")
	other.patch(8)
	other.patch(8)
	w.stays("the other store is ahead")
	for _, i := range w.fleet[1:] {
		i.stop()
		i.start()
	}
	w.follow("new", true)
	w.follows("instances were started")
	w.publishWaiting()
	w.follows("our next version")
	w.patch(8)
	w.follows("our next but one")
	other.s.Publisher.Stop()
	gone := time.Now()
	w.follows("the other publisher is gone")
	w.cost("publisher of another store on the same NATS and Redis", began, gone)
	w.checkClaims(began, began)
}

// otherStore starts a publisher with its own empty store, and publishes versions of the same dataset to it.
func (w *restoration) otherStore(versions uint64) *ledger {
	w.t.Helper()
	folder := w.t.TempDir()
	s := &system{Redis: w.Redis, NATS: w.NATS}
	s.Publisher = w.publisher([]string{"REDIS_URL=" + w.Redis.URL, "NATS_URL=" + w.NATS.URL, "STORE_URL=dir://" + folder})
	l := newLedger(w.t, s, w.name, restoreKeys)
	for l.newest() < versions {
		l.patch(8)
	}
	return l
}

// stays checks for several beacons that every fresh instance stays fresh on the same version.
func (w *restoration) stays(phase string) {
	w.t.Helper()
	want := w.record()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 5*shortBeacon; <-tick.C {
		for _, i := range w.fleet {
			s, err := i.says(w.t.Context())
			if err == nil && (s.Version != w.newest() || s.ID != want.ID || s.State != string(fleet.Fresh)) {
				err = errors.New(s.String())
			}
			if err != nil {
				w.t.Errorf("%s: %s does not stay fresh on version %d: %v", phase, i.name, w.newest(), err)
				return
			}
		}
	}
	w.follows(phase)
}
