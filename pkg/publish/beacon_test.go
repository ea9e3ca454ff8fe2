package publish_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/publish/internal/beacon"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// seen is a store with Newest and EnsureID alone.
type seen struct {
	store.Store
	newest func(ctx context.Context) (map[string]dataset.Ref, map[string]error, error)
}

func (s seen) Newest(ctx context.Context) (map[string]dataset.Ref, map[string]error, error) {
	return s.newest(ctx)
}

func (s seen) EnsureID(context.Context) (dataset.StoreID, error) { return storeID, nil }

// storeID is that of the stores in tests without files.
var storeID = dataset.StoreID{1}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// sender runs a beacon in a bubble of synctest.
type sender struct {
	*beacon.Beacon
	log lines

	sync.Mutex // guards what follows
	sent       []events.Beacon
	err        error // of sending
	done       []publish.BeaconRound
}

func newSender(t *testing.T, every time.Duration, newest func(ctx context.Context) (map[string]dataset.Ref, map[string]error, error)) *sender {
	t.Helper()
	s := &sender{}
	p, err := publish.Open(publish.Config{
		TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&s.log, nil)), BeaconEvery: every, BeaconName: "here",
		OnBeacon: func(r publish.BeaconRound) {
			s.Lock()
			defer s.Unlock()
			s.done = append(s.done, r)
		},
	}, publish.Deps{Store: seen{newest: newest}, SendBeacon: func(b events.Beacon) error {
		s.Lock()
		defer s.Unlock()
		if s.err == nil {
			s.sent = append(s.sent, b)
		}
		return s.err
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Beacon = p.Beacon()
	return s
}

// start runs the beacon, and returns what stops it.
func (s *sender) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a stop is an error: %v", err)
		}
	}
}

// beacons returns the beacons that were sent, rounds the results of all rounds.
func (s *sender) beacons() []events.Beacon {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.sent)
}

func (s *sender) rounds() []publish.BeaconRound {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.done)
}

func fixed(newest map[string]dataset.Ref) func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
	return func(context.Context) (map[string]dataset.Ref, map[string]error, error) { return newest, nil, nil }
}

func TestBeaconKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := 3 * time.Second
		s := newSender(t, 5*time.Second, func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
			time.Sleep(took)
			return map[string]dataset.Ref{"prices": {Version: 7, ID: dataset.VersionID{7}}}, nil, nil
		})
		start := time.Now()
		stop := s.start(t)
		time.Sleep(101 * time.Second)
		stop()
		// One at once, and one each period from somewhere in the first one on. The first may take the place of the second.
		if n := len(s.beacons()); n < 20 || n > 22 {
			t.Fatalf("%d beacons in 101 s", n)
		}
		if first := s.beacons()[0].Sent.Sub(start); first != took {
			t.Errorf("the first is sent after %v", first)
		}
		for i := 4; i < len(s.sent); i++ { // the first three may be late, by what the first takes of the period
			if d := s.sent[i].Sent.Sub(s.sent[i-1].Sent); d != 5*time.Second {
				t.Errorf("beacon %d comes after %v", i, d)
			}
		}
		if diff := cmp.Diff(events.Beacon{Publisher: "here", Sent: s.beacons()[0].Sent, Every: 5 * time.Second, Store: storeID, Newest: map[string]uint64{"prices": 7}, IDs: map[string]dataset.VersionID{"prices": {7}}}, s.beacons()[0]); diff != "" {
			t.Error(diff)
		}
	})
}

// A store that hangs delays neither the round nor the next one.
func TestBeaconDoesNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		hang.Store(true)
		s := newSender(t, time.Second, func(ctx context.Context) (map[string]dataset.Ref, map[string]error, error) {
			if hang.Load() {
				<-ctx.Done()
				return nil, nil, context.Cause(ctx)
			}
			return map[string]dataset.Ref{"prices": {Version: 1}}, nil, nil
		})
		stop := s.start(t)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if len(s.beacons()) > 0 || len(s.rounds()) < 9 || len(s.rounds()) > 11 {
			t.Errorf("%d beacons, %d rounds", len(s.beacons()), len(s.rounds()))
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "no beacon was sent") || !strings.Contains(text, "list the datasets for a beacon: context deadline exceeded") {
			t.Errorf("the log says %s", text)
		}
		hang.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(s.beacons()) < 1 {
			t.Error("no beacon once the store answers")
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "beacons are sent again") {
			t.Errorf("the log says %s", text)
		}
		stop()
	})
}

// A dataset whose read takes the whole period delays the beacons of the others by at most one period.
func TestBeaconOmitsADatasetThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 5*time.Second, func(ctx context.Context) (map[string]dataset.Ref, map[string]error, error) {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond)
			return map[string]dataset.Ref{"cities": {Version: 3}}, map[string]error{"prices": context.Cause(ctx)}, nil
		})
		stop := s.start(t)
		time.Sleep(103 * time.Second)
		stop()
		if n := len(s.beacons()); n < 18 {
			t.Fatalf("%d beacons in 103 s", n)
		}
		for _, b := range s.beacons() {
			if v, ok := b.Version("cities"); !ok || v.Version != 3 || !slices.Equal(b.Unread, []string{"prices"}) {
				t.Errorf("the beacon is %+v", b)
			}
		}
	})
}

func TestBeaconReportsUnreadDatasets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Pointer[map[string]error]
		broken.Store(&map[string]error{"prices": errors.New("input/output error")})
		s := newSender(t, time.Second, func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
			return map[string]dataset.Ref{"cities": {Version: 3}}, *broken.Load(), nil
		})
		stop := s.start(t)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b := s.beacons()[len(s.beacons())-1]
		if v, ok := b.Version("cities"); !ok || v.Version != 3 {
			t.Errorf("cities: %d, %v", v, ok)
		}
		if v, ok := b.Version("prices"); ok {
			t.Errorf("prices: %d", v)
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "datasets=[prices]") || !strings.Contains(text, "input/output error") {
			t.Errorf("the log says %s", text)
		}
		broken.Store(&map[string]error{})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "all datasets again") {
			t.Errorf("the log says %s", text)
		}
		stop()
	})
}

func TestBeaconThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, time.Second, fixed(nil))
		disconnected := errors.New("disconnected")
		s.err = disconnected
		stop := s.start(t)
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		for _, r := range s.rounds() {
			if !errors.Is(r.Err, disconnected) || !r.Sent.IsZero() {
				t.Errorf("%+v", r)
			}
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 {
			t.Errorf("the log says %s", text)
		}
		s.Lock()
		s.err = nil
		s.Unlock()
		s.Wake()
		synctest.Wait()
		if len(s.beacons()) != 1 {
			t.Errorf("%d beacons", len(s.beacons()))
		}
		stop()
	})
}

func TestBeaconSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := newSender(t, time.Second, func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
			if n++; n < 3 {
				panic("nil map")
			}
			return nil, nil, nil
		})
		stop := s.start(t)
		time.Sleep(5 * time.Second)
		stop()
		if len(s.beacons()) < 2 || s.rounds()[0].Err == nil || !strings.Contains(s.rounds()[0].Err.Error(), "nil map") {
			t.Errorf("%d beacons, %+v", len(s.beacons()), s.rounds()[0])
		}
	})
}

func TestBeaconConfig(t *testing.T) {
	r := newRig(t, nil)
	for _, every := range []time.Duration{-1, time.Millisecond, events.MaxBeaconEvery + 1} {
		if _, err := publish.Open(publish.Config{TempDir: r.temp, BeaconEvery: every}, publish.Deps{Store: r.store}); err == nil {
			t.Errorf("a period of %v is accepted", every)
		}
	}
}

// slowLog is slow to announce, and its last events cannot be read.
type slowLog struct {
	emptyLog
	announce func(ctx context.Context)
}

func (l slowLog) Announce(ctx context.Context, _ dataset.VersionRecord) error {
	l.announce(ctx)
	return nil
}

func (slowLog) Last(_ context.Context, name string) (dataset.VersionRecord, error) {
	return dataset.VersionRecord{}, &events.EventError{Dataset: name, Err: dataset.ErrEvent}
}

// Latest fails, so that no repair announces.
func (slowLog) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	return nil, errors.New("not yet")
}

// A beacon does not overtake the event of a version that is being announced, unless that takes too long.
func TestBeaconDoesNotOvertakeAnEvent(t *testing.T) {
	begun, finish := make(chan bool), make(chan bool)
	rounds := make(chan publish.BeaconRound, 100)
	beacons := make(chan events.Beacon, 100)
	r := newRig(t, func(c *publish.Config, d *publish.Deps) {
		c.BeaconEvery = time.Minute
		c.OnBeacon = func(r publish.BeaconRound) { rounds <- r }
		d.Events = slowLog{announce: func(context.Context) { begun <- true; <-finish }}
		d.SendBeacon = func(b events.Beacon) error { beacons <- b; return nil }
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-rounds
	if b := <-beacons; len(b.Newest) > 0 {
		t.Errorf("%+v", b)
	}
	published := make(chan error, 1)
	publishOne := func(v string) {
		_, err := r.Publish(t.Context(), "prices", input(`{"id":"`+v+`"}`))
		published <- err
	}
	go publishOne("a")
	<-begun
	r.Wake()
	finish <- true
	if b := <-beacons; b.Newest["prices"] != 1 {
		t.Errorf("%+v", b)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
	go publishOne("b")
	<-begun
	start := time.Now()
	r.Wake()
	if b := <-beacons; b.Newest["prices"] != 2 { // though it is not announced
		t.Errorf("%+v", b)
	}
	if took := time.Since(start); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("the beacon waits %v for an event that does not come", took)
	}
	finish <- true
	if err := <-published; err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The beacon warns once that the store is too slow for all datasets, whichever datasets it omits.
func TestBeaconOfASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := newSender(t, time.Second, func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
			n++
			unread := map[string]error{"broken": errors.New("input/output error")}
			for i := range 1000 {
				if i%3 == n%3 {
					unread["dataset-"+strconv.Itoa(i)] = fmt.Errorf("no time: %w", context.DeadlineExceeded)
				}
			}
			return map[string]dataset.Ref{"cities": {Version: 3}}, unread, nil
		})
		stop := s.start(t)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if text := s.log.take(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "datasets=[broken]") || !strings.Contains(text, "the store is too slow") || len(text) > 2000 {
			t.Errorf("the log says %s", text)
		}
		stop()
	})
}
