package publish_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/publish"
	"go.uber.org/goleak"
)

// counted decorates an event log.
type counted struct {
	publish.EventLog
	mu        sync.Mutex
	announced []string // guarded by mu
}

func (c *counted) Announce(ctx context.Context, rec dataset.VersionRecord) error {
	err := c.EventLog.Announce(ctx, rec)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !slices.Contains(c.announced, rec.ID()) {
		c.announced = append(c.announced, rec.ID())
	}
	return err
}

func (c *counted) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.announced)
}

// memoryLog is an event log in memory.
type memoryLog struct {
	emptyLog
	mu   sync.Mutex
	last map[string]dataset.VersionRecord // by dataset; guarded by mu
}

func (l *memoryLog) Announce(_ context.Context, rec dataset.VersionRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rec.Version > l.last[rec.Dataset].Version {
		l.last[rec.Dataset] = rec
	}
	return nil
}

func (l *memoryLog) Last(_ context.Context, name string) (dataset.VersionRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last[name], nil
}

func (l *memoryLog) Latest(context.Context, []string) (map[string]dataset.VersionRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.last), nil
}

// A decorator around the event log or the catalog keeps repair and the announcing of missed versions on.
func TestDecoratedFollowersAreRepaired(t *testing.T) {
	w := newWorld(t)
	log := &counted{EventLog: w.log}
	p, err := publish.Open(publish.Config{TempDir: t.TempDir()}, publish.Deps{
		Store: w.dead.store, Events: log, Catalog: struct{ publish.Catalog }{w.index},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.commit(t, "prices", 2)
	if _, err := p.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "announced by the repair", []string{"prices/1", "prices/2"}, log.all())
	w.whole(t, "prices", 2)

	w.commit(t, "prices", 2)
	if result, err := p.Publish(t.Context(), "prices", input(`{"id":"b"}`)); err != nil || !result.Announced || !result.Indexed || len(result.Warnings) > 0 {
		t.Errorf("%+v: %v", result, err)
	}
	equal(t, "announced by the publish", []string{"prices/1", "prices/2", "prices/3", "prices/4", "prices/5"}, log.all())
	w.whole(t, "prices", 5)
}

// Run sends beacons, repairs and compacts. It ends with its context, returns nil, and leaves no goroutine.
func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	beacons := make(chan events.Beacon, 1)
	compacted := make(chan string, 10)
	repaired := make(chan publish.RepairResult, 10)
	log := &counted{EventLog: &memoryLog{last: map[string]dataset.VersionRecord{}}}
	r := newRig(t, func(c *publish.Config, d *publish.Deps) {
		c.MaxDeltas, c.BeaconEvery, c.BeaconName = 2, events.MinBeaconEvery, "here"
		c.OnRepair = func(r publish.RepairResult) {
			select {
			case repaired <- r:
			default:
			}
		}
		c.OnCompact = func(name string, c publish.Compaction, _ time.Duration, err error) {
			if err != nil || c.Record.Object.Version == 0 {
				t.Errorf("compaction of %q: %+v, %v", name, c, err)
			}
			compacted <- name
		}
		d.Events = log
		d.SendBeacon = func(b events.Beacon) error {
			select {
			case beacons <- b:
			default:
			}
			return nil
		}
	})
	silent := must(publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store}))
	must(silent.Publish(t.Context(), "prices", numbered(200).input()))

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	if b := <-beacons; b.Publisher != "here" || b.Newest["prices"] != 1 {
		t.Errorf("the beacon is %+v", b)
	}
	if one := <-repaired; one.What != publish.RepairAnnounce || one.Dataset != "prices" || one.To != 1 || one.Err != nil {
		t.Errorf("the repair is %+v", one)
	}
	equal(t, "announced", []string{"prices/1"}, log.all())
	for i := range 3 { // the third delta makes a snapshot due
		must(r.Patch(t.Context(), "prices", patch(`{"id":"x","n":`+string(rune('0'+i))+`}`)))
	}
	if name := <-compacted; name != "prices" {
		t.Errorf("compacted %q", name)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returns %v", err)
	}
	noTemp(t, r.temp)
}

// A second Run at the same time is refused; one after the first is not.
func TestRunOnce(t *testing.T) {
	rounds := make(chan publish.BeaconRound, 10)
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.OnBeacon = func(b publish.BeaconRound) { rounds <- b } })
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-rounds
		if err := r.Run(ctx); !errors.Is(err, publish.ErrRunning) {
			t.Errorf("a second Run returns %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
