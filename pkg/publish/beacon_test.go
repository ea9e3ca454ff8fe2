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
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// seen is a store of which only Newest is asked.
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

// lines is a log that tests look into.
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
	*publish.Beacon
	log lines

	sync.Mutex // guards what follows
	sent       []events.Beacon
	err        error // of sending
	done       []publish.BeaconRound
}

func newSender(t *testing.T, every time.Duration, newest func(ctx context.Context) (map[string]dataset.Ref, map[string]error, error)) *sender {
	t.Helper()
	s := &sender{}
	p, err := publish.New(publish.Config{TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&s.log, nil))}, publish.Deps{Store: seen{newest: newest}})
	if err != nil {
		t.Fatal(err)
	}
	s.Beacon, err = publish.NewBeacon(publish.BeaconConfig{Every: every, Name: "here", Done: func(r publish.BeaconRound) {
		s.Lock()
		defer s.Unlock()
		s.done = append(s.done, r)
	}}, publish.BeaconDeps{Publisher: p, Send: func(b events.Beacon) error {
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

// heard returns the beacons that were sent, rounds what came of them all.
func (s *sender) heard() []events.Beacon {
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
		if n := len(s.heard()); n < 20 || n > 22 {
			t.Fatalf("%d beacons in 101 s", n)
		}
		if first := s.heard()[0].Sent.Sub(start); first != took {
			t.Errorf("the first is sent after %v", first)
		}
		for i := 4; i < len(s.sent); i++ { // the first three may be late, by what the first takes of the period
			if d := s.sent[i].Sent.Sub(s.sent[i-1].Sent); d != 5*time.Second {
				t.Errorf("beacon %d comes after %v", i, d)
			}
		}
		if diff := cmp.Diff(events.Beacon{Publisher: "here", Sent: s.heard()[0].Sent, Every: 5 * time.Second, Store: storeID, Newest: map[string]uint64{"prices": 7}, IDs: map[string]dataset.VersionID{"prices": {7}}}, s.heard()[0]); diff != "" {
			t.Error(diff)
		}
	})
}

// A store that hangs is not waited for, nor does it keep the beacon from its next try.
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
		if len(s.heard()) > 0 || len(s.rounds()) < 9 || len(s.rounds()) > 11 {
			t.Errorf("%d beacons, %d rounds", len(s.heard()), len(s.rounds()))
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "no beacon was sent") || !strings.Contains(text, "list the datasets for a beacon: context deadline exceeded") {
			t.Errorf("the log says %s", text)
		}
		hang.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(s.heard()) < 1 {
			t.Error("no beacon once the store answers")
		}
		if text := s.log.take(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "beacons are sent again") {
			t.Errorf("the log says %s", text)
		}
		stop()
	})
}

func TestBeaconSaysWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Pointer[map[string]error]
		broken.Store(&map[string]error{"prices": errors.New("input/output error")})
		s := newSender(t, time.Second, func(context.Context) (map[string]dataset.Ref, map[string]error, error) {
			return map[string]dataset.Ref{"cities": {Version: 3}}, *broken.Load(), nil
		})
		stop := s.start(t)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b := s.heard()[len(s.heard())-1]
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
		s.Soon()
		synctest.Wait()
		if len(s.heard()) != 1 {
			t.Errorf("%d beacons", len(s.heard()))
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
		if len(s.heard()) < 2 || s.rounds()[0].Err == nil || !strings.Contains(s.rounds()[0].Err.Error(), "nil map") {
			t.Errorf("%d beacons, %+v", len(s.heard()), s.rounds()[0])
		}
	})
}

func TestBeaconConfig(t *testing.T) {
	r := newRig(t, nil)
	if _, err := publish.NewBeacon(publish.BeaconConfig{Every: time.Millisecond}, publish.BeaconDeps{Publisher: r.Publisher}); err == nil {
		t.Error("a period of a millisecond is taken")
	}
	if _, err := publish.NewBeacon(publish.BeaconConfig{}, publish.BeaconDeps{}); err == nil {
		t.Error("no Publisher is taken")
	}
}

// slowLog takes its time to announce.
type slowLog struct{ announce func(ctx context.Context) }

func (l slowLog) Announce(ctx context.Context, _ dataset.VersionRecord) error {
	l.announce(ctx)
	return nil
}

// A beacon does not overtake the event of a version that is being announced, unless that takes too long.
func TestBeaconDoesNotOvertakeAnEvent(t *testing.T) {
	begun, finish := make(chan bool), make(chan bool)
	r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
		d.Events = slowLog{func(context.Context) { begun <- true; <-finish }}
	})
	rounds := make(chan publish.BeaconRound, 100)
	beacons := make(chan events.Beacon, 100)
	b, err := publish.NewBeacon(publish.BeaconConfig{Every: time.Minute, Done: func(r publish.BeaconRound) { rounds <- r }},
		publish.BeaconDeps{Publisher: r.Publisher, Send: func(b events.Beacon) error { beacons <- b; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
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
	b.Soon()
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
	b.Soon()
	if b := <-beacons; b.Newest["prices"] != 2 { // though it is not announced
		t.Errorf("%+v", b)
	}
	if took := time.Since(start); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("an event that does not come is waited for %v", took)
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
