package subscribe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/wake"
	"freshet.dev/pkg/lane"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/load"
	"freshet.dev/pkg/subscribe/internal/record"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/subscribe/internal/roots"
	"freshet.dev/pkg/table"
)

// ErrClosed is returned by calls that need an open [Subscriber] or [View].
var ErrClosed = errors.New("the subscriber or view is closed")

// Subscriber keeps datasets in memory. Its methods may be called from any number of goroutines.
type Subscriber struct {
	cfg     Config
	host    string
	started time.Time
	run     string // the id of this run, for the status
	nc      connection
	relays  *pull.Client
	cache   *cachedir.Dir    // nil without Config.CacheDir
	guard   *bootguard.Guard // nil without cache
	// shortener is nil without cache.
	shortener *load.Shortener
	collector *load.Collector
	roots     *roots.Roots
	events    Observer // of all parts of the subscriber and the caller
	engine    *refresh.Engine[*table.Table, *table.Changes]
	datasets  map[string]*Dataset // by name; not changed after Open
	reports   chan fleet.Report
	redis     io.Closer      // nil without Config.Redis
	record    *record.Keeper // nil without Config.Redis
	replays   *replays
	// decodeSlots is the semaphore of the eager views that decode.
	decodeSlots *semaphore.Weighted
	lanes       lane.Lanes
	// leaveProcessor makes the CPU lane leave a processor to lookups.
	leaveProcessor func()
	// versionSlots is the semaphore of queries for the records of versions.
	versionSlots *semaphore.Weighted

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	close  func() error

	mu      sync.Mutex // guards the fields below
	closing bool
	running sync.WaitGroup // Add only while closing is false
}

// Open starts a subscriber, which the caller closes. Open waits for no server, and for a slow cache folder until ctx ends; ctx
// does not limit the life of the subscriber. The error is an [ErrConfig] if cfg cannot work, or the cause of ctx.
func Open(ctx context.Context, cfg Config) (*Subscriber, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open the subscriber: %w", context.Cause(ctx))
	}
	s := &Subscriber{
		cfg: cfg, started: time.Now(), run: rand.Text(), reports: make(chan fleet.Report, pendingReports), decodeSlots: semaphore.NewWeighted(int64(cfg.Lanes)),
		versionSlots: semaphore.NewWeighted(versionQueries),
		datasets:     make(map[string]*Dataset, len(cfg.Datasets)), collector: load.NewCollector(),
		roots: roots.New(cfg.KeepRoots),
	}
	s.openLanes()
	s.replays = newReplays(s)
	s.host, _ = os.Hostname() // the status leaves out an unknown host
	s.events = s.observers()
	relays := cfg.pull()
	relays.Refused = watcher{s}.refused
	relays.Lane, relays.MaxConnections = s.lanes.IO, cfg.requests()
	if s.relays, err = pull.New(relays); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if s.nc, err = connect(cfg); err != nil {
		return nil, err
	}
	log, err := events.NewLog(s.nc.Conn, events.Config{Namespace: cfg.Namespace, Stream: cfg.Stream})
	if err != nil {
		s.nc.release()
		return nil, fmt.Errorf("%w: Stream: %w", ErrConfig, err)
	}
	listener, err := events.NewListener(s.nc.Conn, cfg.Datasets, events.ListenerConfig{Namespace: cfg.Namespace, Entries: true, Log: cfg.Log})
	if err != nil {
		s.nc.release()
		return nil, fmt.Errorf("%w: Datasets: %w", ErrConfig, err)
	}
	if err := s.openRecord(); err != nil {
		s.nc.release()
		return nil, err
	}
	s.warnOfPools()
	readable := wake.New()
	s.openCache(ctx, readable)
	s.engine = refresh.New(refresh.Config{
		Datasets: cfg.Datasets, Lanes: cfg.Lanes, Stall: cfg.StallTimeout,
		Retry: refresh.Retry{Initial: cfg.RetryInitial, Max: cfg.RetryMax}, BeaconWithin: cfg.BeaconWithin, PinFor: cfg.PinFor,
	}, refresh.Deps[*table.Table, *table.Changes]{
		Versions: listener.Versions(), Entries: listener.Entries(), Pins: pins{s}, CatchUps: listener.CatchUps(), Beacons: listener.Beacons(),
		Log: eventLog{s, log}, Relays: relayLog{s.relays}, Watcher: watcher{s}, Barred: s.guard.Barred, StoredAgain: readable,
		Loader: &load.Loader{
			Pull: s.relays, Cache: s.cache, Guard: s.guard, Shortener: s.shortener, Collector: s.collector, Roots: s.roots,
			Table: table.Config{Workers: cfg.Workers, Lane: s.lanes.CPU}, Bounds: s.newBounds(),
		},
	})
	if err := s.addDatasets(); err != nil {
		s.nc.release()
		return nil, err
	}
	s.start(ctx, listener)
	if err := s.startIndexes(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// addDatasets makes the datasets, with their indexes.
func (s *Subscriber) addDatasets() error {
	for _, name := range s.cfg.Datasets {
		s.datasets[name] = newDataset(s, name)
	}
	return s.addIndexes()
}

// start starts the goroutines of s. The values of ctx are theirs, its end is not.
func (s *Subscriber) start(ctx context.Context, listener *events.Listener) {
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.close = sync.OnceValue(s.shutDown)
	s.running.Go(func() { s.engine.Run(s.ctx) })
	s.running.Go(func() { s.keep("listen to events", listener.Run) })
	s.running.Go(func() {
		s.keep("answer for the instance", fleet.NewResponder(s.nc.Conn, s.cfg.Namespace, s.Status).Run)
	})
	s.running.Go(func() {
		s.keep("answer remote gets", fleet.NewGetResponder(s.nc.Conn, s.cfg.Namespace, s.run, s.remoteGet).Run)
	})
	s.running.Go(func() {
		s.keep("answer requests for replays", fleet.NewReplayResponder(s.nc.Conn, s.cfg.Namespace, s.run, s.replays.request).Run)
	})
	s.running.Go(func() { s.keep("send reports", s.sendReports) })
	s.running.Go(func() { s.keep("collect garbage", s.collector.Run) })
	if s.record != nil {
		s.running.Go(func() { s.keep("keep the record in Redis", s.record.Run) })
	}
	if s.shortener != nil {
		s.running.Go(func() {
			s.keep("shorten the cache", func(ctx context.Context) error { return s.shortener.Run(ctx, watcher{s}.shortened) })
		})
		s.running.Go(func() {
			s.keep("confirm versions", func(ctx context.Context) error { return s.guard.Run(ctx, watcher{s}.unconfirmed) })
		})
	}
}

// Close ends everything that Open started and waits for it, except for the caller's connections. Handles, tables and views stay
// readable. Close waits for callbacks that run, so a callback must not call it. Further calls wait too and return the same error.
func (s *Subscriber) Close() error { return s.close() }

func (s *Subscriber) shutDown() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.Stopping()
	s.cancel()
	s.running.Wait()
	s.nc.release()
	s.closeRecord()
	s.relays.Close()
	if s.cache == nil {
		return nil
	}
	if err := s.cache.Close(); err != nil && !errors.Is(err, cachedir.ErrHangs) { // the log has that error
		return fmt.Errorf("close the cache folder: %w", err)
	}
	return nil
}

// Datasets returns the names of the datasets in the order of [Config].Datasets.
func (s *Subscriber) Datasets() []string { return append([]string(nil), s.cfg.Datasets...) }
