package publish_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
)

// putStoreID writes store.json as a release without sums does.
func (r *rig) putStoreID(t *testing.T, id dataset.StoreID) {
	t.Helper()
	err := os.Remove(r.store.IDPlace())
	if err == nil {
		err = os.WriteFile(r.store.IDPlace(), []byte(`{"id":"`+id.String()+`"}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// beacon runs a Beacon for one round, and returns that and the beacon that was sent.
func (r *rig) beacon(t *testing.T) (round publish.BeaconRound, sent *events.Beacon) {
	t.Helper()
	rounds := make(chan publish.BeaconRound, 1)
	b, err := publish.NewBeacon(publish.BeaconConfig{Every: time.Minute, Done: func(r publish.BeaconRound) { rounds <- r }},
		publish.BeaconDeps{Publisher: r.Publisher, Send: func(b events.Beacon) error { sent = &b; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	round = <-rounds
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return round, sent
}

// Invariant: a store.json that names another store than the version records makes no other store: nothing is published and no beacon
// names it. The message names both files, and its remedy works.
func TestStoreIDOfAnotherStore(t *testing.T) {
	var log lines
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	first := r.text(t, "prices", `{"id":"a"}`).Record
	if round, sent := r.beacon(t); round.Err != nil || sent == nil || sent.Store != first.StoreID {
		t.Fatalf("%+v %v", round, sent)
	}
	wrong := first.StoreID
	wrong[0] ^= 1
	r.putStoreID(t, wrong)
	check := func(err error) {
		t.Helper()
		if !errors.Is(err, publish.ErrStoreID) {
			t.Fatalf("got %v, want ErrStoreID", err)
		}
		for _, part := range []string{
			r.store.IDPlace() + " says " + wrong.String(), "version prices/1 at " + r.store.RecordPlace("prices", 1) + " says " + first.StoreID.String(),
			"put back a good copy of " + r.store.IDPlace() + ", or remove it",
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	_, err := r.Publish(t.Context(), "prices", publish.Input{Body: strings.NewReader(`{"id":"b"}`), Key: "id"})
	check(err)
	_, err = r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(`{"id":"b"}`), Key: "id"}})
	check(err)
	same := r.text(t, "prices", `{"id":"a"}`)
	if same.Created || len(same.Warnings) != 1 || !strings.Contains(same.Warnings[0], r.store.IDPlace()) {
		t.Errorf("equal content: %+v; want a warning that names the file", same)
	}
	log.take()
	round, sent := r.beacon(t)
	if check(round.Err); sent != nil {
		t.Errorf("a beacon of store %s was sent", sent.Store)
	}
	if text := log.take(); !strings.Contains(text, "no beacon was sent") || !strings.Contains(text, r.store.IDPlace()) {
		t.Errorf("the log says %s", text)
	}

	if err := os.Remove(r.store.IDPlace()); err != nil {
		t.Fatal(err)
	}
	if got := r.text(t, "prices", `{"id":"b"}`).Record; got.StoreID != first.StoreID || got.Version != 2 {
		t.Errorf("version %d is of store %s, want 2 of %s", got.Version, got.StoreID, first.StoreID)
	}
	if round, sent := r.beacon(t); round.Err != nil || sent == nil || sent.Store != first.StoreID {
		t.Errorf("%+v %v", round, sent)
	}
}

// A dataset whose record names another store takes no other dataset's beacon away.
func TestRecordOfAnotherStore(t *testing.T) {
	r := newRig(t, nil)
	first := r.text(t, "prices", `{"id":"a"}`).Record
	other := first
	other.Dataset, other.StoreID = "cities", dataset.NewStoreID()
	if err := r.store.PutVersion(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	round, sent := r.beacon(t)
	if round.Err != nil || sent == nil || sent.Newest["prices"] != 1 || !slices.Equal(sent.Unread, []string{"cities"}) {
		t.Fatalf("%+v %+v", round, sent)
	}
	if err := round.Unread["cities"]; !errors.Is(err, publish.ErrStoreID) || !strings.Contains(err.Error(), r.store.RecordPlace("cities", 1)) {
		t.Errorf("cities is not spoken for because of %v", err)
	}
}
