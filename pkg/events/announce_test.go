package events_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc/pool"
)

func TestAnnounceIsIdempotentAndAscending(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1, 1, 3, 3, 2, 1, 4, 3)
	if got := history(t, ctx, log, "cities"); !slices.Equal(got, []uint64{1, 3, 4}) {
		t.Errorf("the log has versions %v", got)
	}
	m := must(stream(t, ctx, nc).GetLastMsgForSubject(ctx, "freshet.v1.versions.cities"))(t)
	if id := m.Header.Get(jetstream.MsgIDHeader); len(id) != 40 {
		t.Errorf("the id is %q", id)
	}
	if rec, err := dataset.DecodeEvent(m.Data); err != nil || rec.ID() != "cities/4" {
		t.Errorf("the event is of %s, %v", rec.ID(), err)
	}
}

func TestAnnounceRefusesInvalidVersions(t *testing.T) {
	ctx, _, _, log := start(t)
	if err := log.Announce(ctx, dataset.VersionRecord{Dataset: "cities"}); !errors.Is(err, dataset.ErrVersionRecord) {
		t.Error(err)
	}
}

func TestAnnounceFindsAnotherStoresVersion(t *testing.T) {
	ctx, _, _, log := start(t)
	announce(t, ctx, log, "cities", 1)
	other := record("cities", 1)
	other.Snapshot.Digest = dataset.Digest{9}
	if err := log.Announce(ctx, other); !errors.Is(err, events.ErrConflict) {
		t.Error(err)
	}
}

// The log ends with version 3 of store A. The error has the version and the store of the log's last event, and of the
// announced one.
func TestAnnounceNamesBothSidesOfAConflict(t *testing.T) {
	ctx, _, _, log := start(t)
	storeA, storeB := dataset.StoreID{1}, dataset.StoreID{2}
	of := func(version uint64, store dataset.StoreID, digest byte) dataset.VersionRecord {
		rec := record("cities", version)
		rec.StoreID, rec.Snapshot.Digest = store, dataset.Digest{digest}
		return rec
	}
	last := of(3, storeA, 1)
	if err := log.Announce(ctx, last); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		rec    dataset.VersionRecord
		remedy string // empty if nothing is wrong
	}{
		"the version":                      {of(3, storeA, 1), ""},
		"one before, of the store":         {of(2, storeA, 2), ""},
		"the number, of a copy":            {of(3, storeA, 2), "stop one of them, and publish again with the other"},
		"the number, of another store":     {of(3, storeB, 2), "give each store its own FRESHET_NAMESPACE"},
		"a lower number, of another store": {of(2, storeB, 2), "give each store its own FRESHET_NAMESPACE"},
		"the number, without a store":      {of(3, dataset.StoreID{}, 2), "give each store its own FRESHET_NAMESPACE"},
	} {
		for how, announce := range map[string]func() error{
			"Announce":  func() error { return log.Announce(ctx, tc.rec) },
			"Supersede": func() error { return log.Supersede(ctx, tc.rec, of(3, storeB, 7)) },
		} {
			err := announce()
			if tc.remedy == "" {
				if err != nil {
					t.Errorf("%s of %s: %v", how, name, err)
				}
				continue
			}
			ours := tc.rec.Ref().String()
			if !tc.rec.StoreID.IsZero() {
				ours += " of store " + tc.rec.StoreID.String()
			}
			if !errors.Is(err, events.ErrConflict) {
				t.Errorf("%s of %s: %v", how, name, err)
				continue
			}
			for _, want := range []string{
				"it ends with version " + last.Ref().String() + " of store " + storeA.String(), "the version to announce is " + ours, tc.remedy,
			} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s of %s: %v; want %q in it", how, name, err, want)
				}
			}
		}
	}
}

func TestAnnounceGoesAfterAnUnreadableEvent(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1)
	must(api(t, nc).Publish(ctx, "freshet.v1.versions.cities", []byte("garbage")))(t)
	announce(t, ctx, log, "cities", 2)
	latest, err := log.Latest(ctx, []string{"cities"})
	if err != nil || latest["cities"].Version != 2 {
		t.Errorf("Latest is %v, %v", latest["cities"].Version, err)
	}
}

func TestLastReturnsTheAnnouncedVersion(t *testing.T) {
	ctx, _, nc, log := start(t)
	last := func(want uint64) {
		t.Helper()
		if rec, err := log.Last(ctx, "cities"); err != nil || rec.Version != want {
			t.Errorf("%d, %v, want %d", rec.Version, err, want)
		}
	}
	last(0) // no stream
	announce(t, ctx, log, "prices", 1)
	last(0)
	announce(t, ctx, log, "cities", 1, 3)
	last(3)
	must(api(t, nc).Publish(ctx, "freshet.v1.versions.cities", []byte("garbage")))(t)
	var e *events.EventError
	if _, err := log.Last(ctx, "cities"); !errors.As(err, &e) || e.Dataset != "cities" || !errors.Is(err, dataset.ErrEvent) {
		t.Errorf("after an event that is not readable: %v", err)
	}
	if _, err := log.Last(ctx, "freshet.>"); !errors.Is(err, dataset.ErrName) {
		t.Errorf("a wildcard for a name: %v", err)
	}
}

// The stream has lost an event whose id it still remembers.
func TestAnnounceRestoresALostEvent(t *testing.T) {
	for name, lose := range map[string]func(context.Context, jetstream.Stream) error{
		"deleted": func(ctx context.Context, s jetstream.Stream) error { return s.DeleteMsg(ctx, 2) },
		"purged":  func(ctx context.Context, s jetstream.Stream) error { return s.Purge(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, _, nc, log := start(t)
			announce(t, ctx, log, "cities", 1, 2)
			s := stream(t, ctx, nc)
			lastID := must(s.GetLastMsgForSubject(ctx, "freshet.v1.versions.cities"))(t).Header.Get(jetstream.MsgIDHeader)
			if err := lose(ctx, s); err != nil {
				t.Fatal(err)
			}
			// The premise: the stream refuses the event as a duplicate.
			ack := must(api(t, nc).Publish(ctx, "freshet.v1.versions.cities", nil, jetstream.WithMsgID(lastID)))(t)
			if !ack.Duplicate {
				t.Fatal("the stream forgot the id: this test shows nothing")
			}
			announce(t, ctx, log, "cities", 2, 2)
			got := history(t, ctx, log, "cities")
			if len(got) == 0 || got[len(got)-1] != 2 || slices.Index(got, 2) != len(got)-1 {
				t.Errorf("the log has versions %v", got)
			}
		})
	}
}

func TestAnnounceCreatesADeletedStream(t *testing.T) {
	ctx, _, nc, log := start(t)
	announce(t, ctx, log, "cities", 1, 2)
	if err := api(t, nc).DeleteStream(ctx, "FRESHET"); err != nil {
		t.Fatal(err)
	}
	announce(t, ctx, log, "cities", 3)
	if got := history(t, ctx, log, "cities"); !slices.Equal(got, []uint64{3}) {
		t.Errorf("the log has versions %v", got)
	}
}

// Invariants: with any number of announcers and any order, the log is strictly ascending and ends with the highest version.
func TestConcurrentAnnouncers(t *testing.T) {
	ctx, s, _, log := start(t)
	const announcers, versions = 6, 40
	p := pool.New().WithErrors()
	for i := range announcers {
		log := newLog(t, connect(t, s.URL), events.Config{})
		order := upTo(versions)
		if i%2 == 1 {
			rand.Shuffle(versions, func(a, b int) { order[a], order[b] = order[b], order[a] })
		}
		p.Go(func() error {
			for _, v := range order {
				if err := log.Announce(ctx, record("cities", v)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	got := history(t, ctx, log, "cities")
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("the log has version %d after %d", got[i], got[i-1])
		}
	}
	if len(got) == 0 || got[len(got)-1] != versions {
		t.Errorf("the log ends before version %d: %v", versions, got)
	}
}

// The server stores the event, and the connection breaks before its acknowledgement arrives.
func TestAnnounceWhoseAcknowledgementIsLost(t *testing.T) {
	ctx, s, _, log := start(t)
	if err := log.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	var cuts atomic.Int32
	proxy := newProxy(t, s.URL, func(fromServer []byte) bool {
		return bytes.Contains(fromServer, []byte(`{"stream":"FRESHET","seq":`)) && cuts.Add(1) <= 3
	})
	through := newLog(t, connect(t, proxy), events.Config{})
	announce(t, ctx, through, "cities", upTo(5)...)
	if got := history(t, ctx, log, "cities"); !slices.Equal(got, upTo(5)) {
		t.Errorf("the log has versions %v", got)
	}
	if cuts.Load() < 3 {
		t.Errorf("%d acknowledgements were cut off, want 3: this test shows nothing", cuts.Load())
	}
}

// Invariant: every version that Announce has confirmed is in the log, once and in order, through stops and kills of the server.
func TestAnnounceThroughRestarts(t *testing.T) {
	ctx, s, _, log := start(t)
	const versions = 300
	var announced atomic.Int64
	p := pool.New().WithErrors()
	p.Go(func() error {
		for _, v := range upTo(versions) {
			if err := log.Announce(ctx, record("cities", v)); err != nil {
				return err
			}
			announced.Store(int64(v))
		}
		return nil
	})
	for i, end := range []func(){s.Stop, s.Kill, s.Kill} {
		eventually(t, ctx, "announcements go on", func() bool { return announced.Load() >= int64(60*(i+1)) })
		end()
		s.Start()
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := history(t, ctx, log, "cities"); !slices.Equal(got, upTo(versions)) {
		t.Errorf("the log has %d versions, want %d in order: %v", len(got), versions, got)
	}
}

func TestAnnounceErrorHasTheLastFailure(t *testing.T) {
	ctx, _, nc, log := start(t)
	cfg := jetstream.StreamConfig{Name: "FRESHET", Subjects: []string{"freshet.v1.versions.>"}, Storage: jetstream.MemoryStorage}
	must(api(t, nc).CreateStream(ctx, cfg))(t)
	began := time.Now()
	err := log.Announce(ctx, record("cities", 1))
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("keeps its messages in memory; delete it")) {
		t.Errorf("the error is %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a permanent error was retried for %v", took)
	}
	if err := api(t, nc).DeleteStream(ctx, "FRESHET"); err != nil {
		t.Fatal(err)
	}
	announce(t, ctx, log, "cities", 1)
}
