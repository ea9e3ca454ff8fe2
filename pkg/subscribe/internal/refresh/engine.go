package refresh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/subscribe/internal/clock"
)

// Engine refreshes a fixed set of datasets.
type Engine[T, D any] struct {
	cfg      Config
	deps     Deps[T, D]
	datasets map[string]*datasetState[T, D] // not changed after New

	jobs     chan job[T, D]      // to the workers; never holds more jobs than there are idle workers
	requests chan catchUpRequest // to the log reader; never holds more than one
	messages chan message[T, D]  // to the loop
	replays  chan *Replay        // to the loop; see Replay
	ended    chan struct{}       // closed when the loop has ended

	// clocks returns the present time, and that by the clock that is compared with publishers' clocks; only tests change it after New.
	clocks func() (now, wall time.Time)

	currentStore atomic.Pointer[Store] // only the loop writes it

	// Only the loop uses the following fields.

	storeQueries map[dataset.StoreID]time.Time // by other store, when its messages caused the last query of the relays
	otherStores  map[dataset.StoreID]time.Time // by other store, when its last message arrived
	relayWarning string                        // the present warning about the relays' stores; empty if they agree
	relayStores  map[string]dataset.StoreID    // by relay, the store that it named last
	queue        []*datasetState[T, D]         // datasets that wait for a lane, the longest waiting first
	flights      []*flight[T, D]               // jobs in flight
	resuming     []*flight[T, D]               // flights that wait for a lane to go on, the longest waiting first
	queueNext    bool                          // the next free lane is for queue, not for resuming
	otherNext    bool                          // the next free lane for queue is for a dataset that is not healthy
	catchUp      catchUp
	queryQueue   []*datasetState[T, D] // datasets that wait for a query of the relays
	queries      []*relayQuery[T, D]   // queries of the relays in flight
	queryWorkers sync.WaitGroup
	pinsRunning  int             // pinsWork in flight
	ctx          context.Context // of Run

	finisher finisher[T, D]
}

// New returns an engine. It starts nothing.
func New[T, D any](cfg Config, deps Deps[T, D]) *Engine[T, D] {
	e := &Engine[T, D]{
		cfg: cfg, deps: deps, datasets: make(map[string]*datasetState[T, D]),
		jobs:     make(chan job[T, D], maxWorkers(cfg)),
		requests: make(chan catchUpRequest, 1),
		// A worker waits for the answer to a message before it sends the next, so a send never blocks for long.
		messages: make(chan message[T, D], maxWorkers(cfg)+1),
		replays:  make(chan *Replay, pendingReplays),
		ended:    make(chan struct{}),
		clocks:   clock.Both,
		catchUp:  catchUp{backoff: cfg.Retry.newBackoff(), first: true},

		storeQueries: make(map[dataset.StoreID]time.Time),
		otherStores:  make(map[dataset.StoreID]time.Time),
		relayStores:  make(map[string]dataset.StoreID),
	}
	e.currentStore.Store(&Store{})
	if e.cfg.BeaconWithin == 0 {
		e.cfg.BeaconWithin = events.BlindAfter * events.DefaultBeaconEvery
	}
	began := time.Now()
	for _, name := range cfg.Datasets {
		s := &datasetState[T, D]{name: name, first: make(chan struct{}), backoff: cfg.Retry.newBackoff(), settled: fleet.Blind}
		gone := make(chan struct{})
		s.gone.Store(&gone)
		s.pins = pinState{backoff: cfg.Retry.newBackoff(), pinFor: cfg.PinFor}
		s.health.Store(&Health{Began: began, Period: e.cfg.BeaconWithin / events.BlindAfter, State: fleet.Blind, Since: began})
		e.datasets[name] = s
	}
	return e
}

// Run refreshes until ctx ends, and returns when all its goroutines but the abandoned ones have ended. It may be called once.
func (e *Engine[T, D]) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range maxWorkers(e.cfg) {
		workers.Go(func() { e.work(ctx) })
	}
	finishing, endFinishing := context.WithCancel(context.WithoutCancel(ctx))
	defer endFinishing()
	e.finisher.e, e.finisher.ctx, e.ctx = e, finishing, ctx
	workers.Go(func() { e.readLogs(ctx) })
	for _, name := range e.cfg.Datasets {
		e.enqueue(e.datasets[name])
	}
	e.supervise(ctx)
	defer time.AfterFunc(finishGrace, endFinishing).Stop()
	close(e.ended)
	workers.Wait()
	e.queryWorkers.Wait()
	e.finisher.workers.Wait()
}

// Served returns the served version of the dataset; nil if there is none, or if the engine does not have the dataset. It costs one
// map lookup and one atomic load.
func (e *Engine[T, D]) Served(name string) *Served[T] {
	if s := e.datasets[name]; s != nil {
		return s.served.Load()
	}
	return nil
}

// Current returns the pointer to the version that readers have, which is nil before the first version with a value; nil if the engine does
// not have the dataset. Callers must only load from it.
func (e *Engine[T, D]) Current(name string) *atomic.Pointer[Served[T]] {
	if s := e.datasets[name]; s != nil {
		return &s.current
	}
	return nil
}

// First returns a channel that is closed when readers have the first version of the dataset; nil if the engine does not have the
// dataset.
func (e *Engine[T, D]) First(name string) <-chan struct{} {
	if s := e.datasets[name]; s != nil {
		return s.first
	}
	return nil
}

// Health returns the health of the dataset, which the engine must have.
func (e *Engine[T, D]) Health(name string) Health { return *e.datasets[name].health.Load() }

// State returns the state of the dataset now, which the engine must have. It copies no health.
func (e *Engine[T, D]) State(name string) fleet.State {
	s := e.datasets[name]
	h, v := s.health.Load(), s.served.Load() // in the order of Judge
	now, wall := e.clocks()
	return h.Judge(v.record(), now, wall).State
}

// Judge returns the health of the dataset, which the engine must have, its served version, and its state now.
func (e *Engine[T, D]) Judge(name string) (Health, *Served[T], Judgement) {
	s := e.datasets[name]
	h, v := s.health.Load(), s.served.Load() // in this order: the served version is never behind the health
	now, wall := e.clocks()
	return *h, v, h.Judge(v.record(), now, wall)
}
