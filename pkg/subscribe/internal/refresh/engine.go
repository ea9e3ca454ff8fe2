package refresh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe/internal/clock"
)

// Engine refreshes a fixed set of datasets.
type Engine[T, D any] struct {
	cfg  Config
	deps Deps[T, D]
	sets map[string]*set[T, D] // not changed after New

	jobs     chan job[T, D]     // to the goroutines of the lanes; never holds more than there are idle ones
	asks     chan ask           // to the catcher; never holds more than one
	messages chan message[T, D] // from lanes and catcher to the loop
	ended    chan struct{}      // closed when the loop has ended

	// wall is the clock that is compared with those of publishers; not changed after New but by tests.
	wall func() time.Time

	storeNow atomic.Pointer[Store] // written by the loop alone

	// What follows is the loop's own.
	checkedStores map[dataset.StoreID]time.Time // when the relays were last asked because of messages of that store
	namedStores   map[dataset.StoreID]time.Time // when the last message of that store came
	disagreement  string                        // the last warning about relays of different stores; empty once they agree
	relayStores   map[string]dataset.StoreID    // by relay, the store that it named last
	queue         []*set[T, D]                  // due and waiting for a lane, the longest waiting first
	flights       []*flight[T, D]               // jobs under way
	resuming      []*flight[T, D]               // those that wait for a lane to go on, the longest waiting first
	startsNext    bool                          // the next free lane is for the queue, not for resuming
	catchUp       catchUp
	asking        []*set[T, D]     // whose inquires is not nil
	inquiries     []*inquiry[T, D] // queries of the relays under way
	inquirers     sync.WaitGroup
	ctx           context.Context // of Run

	finisher finisher[T, D]
}

// set is a dataset's state.
type set[T, D any] struct {
	name   string
	served atomic.Pointer[Served[T]]
	health atomic.Pointer[Health]
	first  chan struct{} // closed at the first swap

	// What follows is the loop's own.
	target   dataset.VersionRecord  // the newest announced; its Version is 0 if none is
	move     *dataset.VersionRecord // the store's newest version, if what is served is not in the store's history
	disowned []dataset.VersionID    // versions that are not in the store's history, or could not be loaded
	barred   []Barred               // quarantined versions
	kept     Barred                 // the one among them that is kept from being served; its Ref is zero if none is
	blocked  bool                   // the target is barred
	verify   bool                   // the relays are to be asked, whatever the log says
	affirmed dataset.VersionID      // what a beacon or a relay of the instance's store named last as the newest version
	news     news                   // versions known and not served
	hearing  hearing                // what beacons said
	settled  fleet.State            // the last that no refresh of a fresh dataset brings, or Fresh
	begun    bool                   // its stored version was, or is being, looked at
	again    bool                   // its stored version is to be looked at again
	running  bool                   // a lane has it
	queued   bool                   // it stands in the queue
	tried    uint64                 // the version of the last attempt
	failedAt time.Time              // when that failed
	retryAt  time.Time              // not before then; zero if there is nothing to wait for
	backoff  *backoff.ExponentialBackOff
	queuedAt time.Time
	lost     []dataset.Ref // the versions of attempts that were given up and whose goroutines still hang

	later    laterRecord // waits for the relays' answer
	inquires *caughtUp   // the catch-up that waits for a query of the relays; nil if none does

	unfinished unfinished // guarded by finisher.mu
}

// New returns an engine that does nothing yet.
func New[T, D any](cfg Config, deps Deps[T, D]) *Engine[T, D] {
	e := &Engine[T, D]{
		cfg: cfg, deps: deps, sets: make(map[string]*set[T, D]),
		jobs: make(chan job[T, D], maxFlights(cfg)),
		asks: make(chan ask, 1),
		// A lane waits for the answer to a message before it sends the next, so none ever blocks here for long.
		messages: make(chan message[T, D], maxFlights(cfg)+1),
		ended:    make(chan struct{}),
		wall:     clock.Wall,
		catchUp:  catchUp{backoff: cfg.Retry.policy(), first: true},

		checkedStores: make(map[dataset.StoreID]time.Time),
		namedStores:   make(map[dataset.StoreID]time.Time),
		relayStores:   make(map[string]dataset.StoreID),
	}
	e.storeNow.Store(&Store{})
	if e.cfg.BeaconWithin == 0 {
		e.cfg.BeaconWithin = events.BlindAfter * events.DefaultBeaconEvery
	}
	began := time.Now()
	for _, name := range cfg.Datasets {
		s := &set[T, D]{name: name, first: make(chan struct{}), backoff: cfg.Retry.policy(), settled: fleet.Blind}
		s.health.Store(&Health{Began: began, Period: e.cfg.BeaconWithin / events.BlindAfter, State: fleet.Blind, Since: began})
		e.sets[name] = s
	}
	return e
}

// Run refreshes until ctx ends, and returns when all its goroutines have ended. It may be called once.
func (e *Engine[T, D]) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range maxFlights(e.cfg) {
		workers.Go(func() { e.lane(ctx) })
	}
	finishing, endFinishing := context.WithCancel(context.WithoutCancel(ctx))
	defer endFinishing()
	e.finisher.e, e.finisher.ctx, e.ctx = e, finishing, ctx
	workers.Go(func() { e.catcher(ctx) })
	for _, name := range e.cfg.Datasets {
		e.enqueue(e.sets[name])
	}
	e.supervise(ctx)
	defer time.AfterFunc(finishGrace, endFinishing).Stop()
	close(e.ended)
	workers.Wait()
	e.inquirers.Wait()
	e.finisher.workers.Wait()
}

// Served returns what is served of the dataset: nil as long as nothing is, or if the engine does not know it. It is one
// look-up and one atomic load.
func (e *Engine[T, D]) Served(name string) *Served[T] {
	if s := e.sets[name]; s != nil {
		return s.served.Load()
	}
	return nil
}

// First returns a channel that is closed as soon as a version of the dataset is served; nil if the engine does not
// know it.
func (e *Engine[T, D]) First(name string) <-chan struct{} {
	if s := e.sets[name]; s != nil {
		return s.first
	}
	return nil
}

// Health returns how refreshing the dataset, which the engine knows, goes.
func (e *Engine[T, D]) Health(name string) Health { return *e.sets[name].health.Load() }

// Judge returns the health of the dataset, which the engine knows, what is served of it, and its state at this moment.
func (e *Engine[T, D]) Judge(name string) (Health, *Served[T], Judgement) {
	s := e.sets[name]
	h, v := s.health.Load(), s.served.Load() // in this order: what is served is never behind the health
	return *h, v, h.Judge(v.record(), time.Now(), e.wall())
}

func (s *set[T, D]) version() uint64 { return versionOf(s.served.Load().record()) }

// known returns the newest version that can be brought up, or is served.
func (s *set[T, D]) known() uint64 { return max(s.target.Version, s.version()) }

// update changes the dataset's health. Only the loop calls it.
func (s *set[T, D]) update(change func(*Health)) {
	h := *s.health.Load()
	change(&h)
	s.health.Store(&h)
}
