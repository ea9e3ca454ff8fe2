package refresh

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// yieldAfter is how long a job may go without progress before it yields its lane.
	yieldAfter = 200 * time.Millisecond
	// longAfter is the age of a flight from which a served dataset no longer waits for its lane.
	longAfter = 2 * time.Second
	// hangsAfter is how long after it yielded its lane a flight counts as hanging.
	hangsAfter = time.Second
	// healthyHangsAfter replaces hangsAfter for the eviction of a healthy dataset's flight: relays that are slow for everyone must not
	// make healthy datasets evict each other.
	healthyHangsAfter = 5 * time.Second
	// flightsPerLane bounds the flights for each lane that do not hang. As many may hang.
	flightsPerLane = 8
)

// flight is a job in flight. It holds a lane while it makes progress. A job that waits for a slow relay or disk yields its lane to
// other jobs, and waits for a free lane before it goes on.
type flight[T, D any] struct {
	dataset *datasetState[T, D]
	failing bool // an attempt of the dataset failed, and none has succeeded since
	healthy bool // the dataset was healthy when the flight began
	stored  bool // loads the stored version, which is tried once
	began   time.Time
	ctx     context.Context // of the job
	cancel  context.CancelCauseFunc

	yielded  atomic.Bool   // the loop writes it
	resuming sync.Mutex    // held while the job waits for a lane
	granted  chan struct{} // buffered; receives when the flight has a lane again

	// Only the loop uses the following fields.

	yieldedAt time.Time // zero if the flight has a lane, or waits for one
	evicted   bool      // was cancelled to make room
	ended     bool
}

// hangs reports whether the flight hangs.
func (f *flight[T, D]) hangs(now time.Time) bool {
	return !f.yieldedAt.IsZero() && now.Sub(f.yieldedAt) >= hangsAfter
}

// maxFlights bounds the flights, including those that hang, without the evicted ones. As many evicted ones may be ending.
func maxFlights(cfg Config) int {
	return min(2*flightsPerLane*cfg.Lanes, max(len(cfg.Datasets), cfg.Lanes))
}

// maxWorkers bounds the flights, including the evicted ones. A dataset has one at a time.
func maxWorkers(cfg Config) int { return min(2*maxFlights(cfg), max(len(cfg.Datasets), cfg.Lanes)) }

// onYields takes the lane of a flight without progress.
func (e *Engine[T, D]) onYields(f *flight[T, D]) {
	if !f.ended && !f.yielded.Load() {
		f.yielded.Store(true)
		f.yieldedAt = time.Now()
	}
}

// resume waits until the flight, which yielded its lane, has one again, or until ctx ends. A worker calls it.
func (e *Engine[T, D]) resume(ctx context.Context, f *flight[T, D]) {
	f.resuming.Lock() // several goroutines may report progress of the job
	defer f.resuming.Unlock()
	if !f.yielded.Load() {
		return
	}
	if !e.sendUntil(ctx, message[T, D]{resumes: f}) {
		return
	}
	select {
	case <-f.granted:
	case <-ctx.Done():
	}
}

// onResumes appends the flight to those that wait for a lane.
func (e *Engine[T, D]) onResumes(f *flight[T, D]) {
	if !f.ended && !f.evicted && f.yielded.Load() && !slices.Contains(e.resuming, f) {
		e.resuming = append(e.resuming, f)
		f.yieldedAt = time.Time{}
	}
}

func (e *Engine[T, D]) endFlight(f *flight[T, D]) {
	f.ended = true
	same := func(g *flight[T, D]) bool { return g == f }
	e.flights, e.resuming = slices.DeleteFunc(e.flights, same), slices.DeleteFunc(e.resuming, same)
}

// evictableAt returns when the flight may be evicted if it makes no progress; zero if it may not.
func (f *flight[T, D]) evictableAt() time.Time {
	switch {
	case f.evicted || f.stored || f.yieldedAt.IsZero():
		return time.Time{}
	case f.healthy:
		return f.yieldedAt.Add(healthyHangsAfter)
	}
	return f.yieldedAt.Add(hangsAfter)
}

// victim returns the flight to evict: of those that may be evicted, one whose dataset is not healthy if there is one, and the one that has
// hung for the longest. It returns nil if there is none.
func (e *Engine[T, D]) victim(now time.Time) (victim *flight[T, D]) {
	for _, f := range e.flights {
		if at := f.evictableAt(); at.IsZero() || at.After(now) {
			continue
		}
		if victim == nil || victim.healthy && !f.healthy || victim.healthy == f.healthy && f.yieldedAt.Before(victim.yieldedAt) {
			victim = f
		}
	}
	return victim
}

// evict cancels the victim, to make room for a healthy dataset. The attempt fails, so the dataset's next one stands behind the others.
func (e *Engine[T, D]) evict(now time.Time) {
	f := e.victim(now)
	f.evicted = true
	f.cancel(fmt.Errorf("%w for %s while another dataset waited", ErrStalled, (now.Sub(f.yieldedAt) + yieldAfter).Round(yieldAfter)))
}

// allLongAt returns when the youngest flight with a lane reaches longAfter; all are long then.
func (e *Engine[T, D]) allLongAt() (at time.Time) {
	for _, f := range e.flights {
		if long := f.began.Add(longAfter); !f.yielded.Load() && long.After(at) {
			at = long
		}
	}
	return at
}

// nextRoomAt returns when the next flight will count as hanging or may be evicted, which makes room for another; zero if none may.
func (e *Engine[T, D]) nextRoomAt(now time.Time) (at time.Time) {
	for _, f := range e.flights {
		for _, t := range []time.Time{f.yieldedAt.Add(hangsAfter), f.evictableAt()} {
			if !f.yieldedAt.IsZero() && t.After(now) && (at.IsZero() || t.Before(at)) {
				at = t
			}
		}
	}
	return at
}
