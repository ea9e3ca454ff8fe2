package subscribe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/pull"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
	"freshet.dev/pkg/subscribe/internal/load"
	"freshet.dev/pkg/subscribe/internal/record"
	"freshet.dev/pkg/subscribe/internal/refresh"
	"freshet.dev/pkg/table"
)

var (
	// ErrUnknown is wrapped when a dataset is not one of [Config].Datasets.
	ErrUnknown = errors.New("the dataset is not subscribed to")
	// ErrClosed is wrapped by calls that can do nothing after Close.
	ErrClosed = errors.New("the subscriber is closed")
)

// Subscriber keeps datasets in memory. Its methods may be called from any goroutine.
type Subscriber struct {
	cfg     Config
	host    string
	started time.Time
	run     string // of the status
	nc      *nats.Conn
	link    *events.Link // nc
	relays  *pull.Client
	cache   *cachedir.Dir    // nil if there is none
	guard   *bootguard.Guard // nil if cache is
	// shortener is nil if cache is.
	shortener *load.Shortener
	collector *load.Collector
	engine    *refresh.Engine[*table.Table, *table.Changes]
	reports   chan fleet.Report
	redis     io.Closer      // nil without Config.Redis
	record    *record.Keeper // nil without Config.Redis
	// decoding has room for as many eager views as may decode at a time (see turn).
	decoding chan struct{}

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	close  func() error

	mu        sync.Mutex // guards what follows
	closing   bool
	running   sync.WaitGroup // Add only while closing is false
	callbacks map[string][]*callback
	refreshes map[string]fleet.Refreshes // by dataset
}

// Open starts a subscriber, which works until Close. It fails only if cfg cannot work, with an error that names the
// field. ctx bounds Open itself, not the subscriber's life. The caller closes the subscriber.
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
		cfg: cfg, started: time.Now(), run: rand.Text(), reports: make(chan fleet.Report, pendingReports), decoding: make(chan struct{}, cfg.Lanes),
		callbacks: make(map[string][]*callback), refreshes: make(map[string]fleet.Refreshes), collector: load.NewCollector(),
	}
	s.host, _ = os.Hostname() // without it the status says less, no more
	relays := cfg.pull()
	relays.Refused = s.refused
	if s.relays, err = pull.New(relays); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if s.link, err = events.Dial(cfg.NATS, cfg.Instance, cfg.Log, cfg.NATSOptions...); err != nil {
		return nil, fmt.Errorf("%w: NATS or NATSOptions: %w", ErrConfig, err)
	}
	s.nc = s.link.Conn
	log, err := events.NewLog(s.nc, events.Config{Namespace: cfg.Namespace, Stream: cfg.Stream})
	if err != nil {
		s.nc.Close()
		return nil, fmt.Errorf("%w: Stream: %w", ErrConfig, err)
	}
	listener, err := events.NewListener(s.nc, cfg.Datasets, events.ListenerConfig{Namespace: cfg.Namespace, Log: cfg.Log})
	if err != nil {
		s.nc.Close()
		return nil, fmt.Errorf("%w: Datasets: %w", ErrConfig, err)
	}
	if err := s.openRecord(); err != nil {
		s.nc.Close()
		return nil, err
	}
	folder := make(chan struct{}, 1)
	s.openCache(ctx, folder)
	s.engine = refresh.New(refresh.Config{
		Datasets: cfg.Datasets, Lanes: cfg.Lanes, Stall: cfg.StallTimeout,
		Retry: refresh.Retry{Initial: cfg.RetryInitial, Max: cfg.RetryMax}, BeaconWithin: cfg.BeaconWithin,
	}, refresh.Deps[*table.Table, *table.Changes]{
		Versions: listener.Versions(), CatchUps: listener.CatchUps(), Beacons: listener.Beacons(),
		Log: eventLog{s, log}, Relays: latest{s.relays}, Watcher: watcher{s}, Barred: s.guard.Barred, StoredAgain: folder,
		Loader: &load.Loader{
			Pull: s.relays, Cache: s.cache, Guard: s.guard, Shortener: s.shortener, Collector: s.collector,
			Table: table.Config{Workers: cfg.Workers},
		},
	})

	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.close = sync.OnceValue(s.shutDown)
	s.running.Go(func() { s.engine.Run(s.ctx) })
	s.running.Go(func() { s.keep("listen to events", listener.Run) })
	s.running.Go(func() { s.keep("answer for the instance", fleet.NewResponder(s.nc, s.cfg.Namespace, s.Status).Run) })
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
	return s, nil
}

// openCache cleans the cache folder, and goes on without waiting for it when the folder hangs or ctx ends. It says what is wrong with it,
// and that is all: a subscriber works without one. Returned gets a message when the folder hangs no longer.
func (s *Subscriber) openCache(ctx context.Context, returned chan<- struct{}) {
	if s.cfg.CacheDir == "" {
		return
	}
	s.cache = cachedir.New(s.cfg.CacheDir)
	if s.cfg.disk != nil {
		s.cache.SetDisk(*s.cfg.disk)
	}
	s.guard = bootguard.New(s.cache, s.cfg.Datasets, s.cfg.ConfirmAfter, bootID())
	s.guard.Died = s.died
	s.shortener = load.NewShortener(s.cache)
	s.cache.Watch(func(err error) {
		if err != nil {
			s.cfg.Log.Error("the cache folder hangs; versions go past it until it does no longer", "dir", s.cfg.CacheDir, "error", err)
			return
		}
		s.cfg.Log.Info("the cache folder hangs no longer and is used again", "dir", s.cfg.CacheDir)
		s.shortener.Wake()
		select {
		case returned <- struct{}{}:
		default:
		}
	})
	cleaned := make(chan error, 1)
	go func() { cleaned <- s.cache.Clean(s.cfg.Datasets) }()
	var err error
	select {
	case err = <-cleaned:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.cfg.Log.Warn("the cache folder cannot be used for now; a restart may have to wait for the relays", "dir", s.cfg.CacheDir, "error", err)
	}
}

// Close ends everything that Open started and waits for it. Tables stay usable. A callback that is running is waited
// for, so a callback must not call Close. Further calls wait too and return the same.
func (s *Subscriber) Close() error { return s.close() }

func (s *Subscriber) shutDown() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.Stopping()
	s.cancel()
	s.running.Wait()
	s.nc.Close()
	s.closeRecord()
	s.relays.Close()
	if s.cache == nil {
		return nil
	}
	if err := s.cache.Close(); err != nil && !errors.Is(err, cachedir.ErrHangs) { // of that the log has told
		return fmt.Errorf("close the cache folder: %w", err)
	}
	return nil
}

// Datasets returns the names of the datasets, in the order of the configuration.
func (s *Subscriber) Datasets() []string { return append([]string(nil), s.cfg.Datasets...) }

// Table returns the version of the dataset that is served now; nil as long as none is, or if the dataset is not one of
// [Config].Datasets. It never waits. For look-ups that belong together call it once.
func (s *Subscriber) Table(name string) *table.Table {
	if v := s.engine.Served(name); v != nil {
		return v.Value
	}
	return nil
}

// Version returns the record of the version of the dataset that is served now; ok is false as long as none is.
func (s *Subscriber) Version(name string) (rec dataset.VersionRecord, ok bool) {
	if v := s.engine.Served(name); v != nil {
		return v.Record, true
	}
	return dataset.VersionRecord{}, false
}

// VersionID returns the id of the version of the dataset that is served now; zero as long as none is. It never waits. A later
// call of Table may return another version.
func (s *Subscriber) VersionID(name string) dataset.VersionID {
	if v := s.engine.Served(name); v != nil {
		return v.ID
	}
	return dataset.VersionID{}
}

// Wait returns when every named dataset has a table; without names, when all of them have. Its error names those that
// have none when ctx ends, and why. It wraps [ErrUnknown] for a name that is not subscribed to, and [ErrClosed].
func (s *Subscriber) Wait(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = s.cfg.Datasets
	}
	for _, name := range names {
		if s.engine.First(name) == nil {
			return fmt.Errorf("wait for %q: %w", name, ErrUnknown)
		}
	}
	for _, name := range names {
		first := s.engine.First(name)
		select {
		case <-first:
			continue // also when ctx has ended
		default:
		}
		select {
		case <-first:
		case <-ctx.Done():
			return s.missing(names, context.Cause(ctx))
		case <-s.ctx.Done():
			return s.missing(names, ErrClosed)
		}
	}
	return nil
}

// unheard returns why the instance cannot hear of versions; nil if nothing is known to be in the way.
func (s *Subscriber) unheard(h refresh.Health) error {
	if err := s.link.Err(); err != nil {
		return err
	}
	return h.CatchUpErr
}

// missing returns the error of a Wait for names that ended because of err.
func (s *Subscriber) missing(names []string, err error) error {
	var missing []string
	for _, name := range names {
		if s.engine.Served(name) != nil {
			continue
		}
		why := "no version is known yet"
		switch h := s.engine.Health(name); {
		case h.Quarantined != "":
			why = h.Quarantined
		case h.Err != nil:
			why = fmt.Sprintf("version %d: %v", h.Newest, h.Err)
		case h.Newest > 0:
			why = fmt.Sprintf("version %d is on its way", h.Newest)
		default:
			if err := s.unheard(h); err != nil {
				why += ": " + err.Error()
			}
		}
		missing = append(missing, name+" ("+why+")")
	}
	return fmt.Errorf("wait for the first version of %s: %w", strings.Join(missing, ", "), err)
}
