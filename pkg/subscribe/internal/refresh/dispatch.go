package refresh

import (
	"context"
	"slices"
	"time"
)

// dispatch gives free lanes to flights that resume and to queued datasets, alternately.
func (e *Engine[T, D]) dispatch(now time.Time) {
	for {
		u := e.usage(now)
		resuming, queued := e.nextResuming(u), e.nextQueued(now, u)
		switch {
		case resuming >= 0 && (queued < 0 || !e.queueNext):
			e.queueNext = true
			e.grant(resuming)
		case queued >= 0:
			e.queueNext = false
			e.start(queued, now, u)
		default:
			return
		}
	}
}

// usage counts flights, without the evicted ones. A flight of a dataset whose last attempt failed counts as failing.
type usage struct {
	lanes, failingLanes     int // flights that have a lane
	flights, failingFlights int // all flights
	alive                   int // flights that do not hang
	evicted                 int // flights that were evicted and have not ended
}

func (e *Engine[T, D]) usage(now time.Time) (u usage) {
	for _, f := range e.flights {
		if f.evicted {
			u.evicted++
			continue
		}
		u.flights++
		if f.failing {
			u.failingFlights++
		}
		if !f.hangs(now) {
			u.alive++
		}
		if !f.yielded.Load() {
			u.lanes++
			if f.failing {
				u.failingLanes++
			}
		}
	}
	return u
}

// maxFailing bounds the lanes that failing datasets may occupy.
func maxFailing(cfg Config) int { return max(cfg.Lanes-1, 1) }

// nextResuming returns the index in resuming of the flight that gets a lane now; -1 if none does.
func (e *Engine[T, D]) nextResuming(u usage) int {
	if u.lanes >= e.cfg.Lanes {
		return -1
	}
	return slices.IndexFunc(e.resuming, func(f *flight[T, D]) bool { return !f.failing || u.failingLanes < maxFailing(e.cfg) })
}

// nextQueued returns the index in queue of the dataset that gets a lane now; -1 if none does.
//
//   - Healthy datasets, which are served and do not fail, take turns with the others. A long queue of first attempts does not delay them.
//   - Datasets that fail stand behind the others, unless they have waited for Retry.Max. They occupy neither all lanes nor more than
//     half of the flights.
//   - When long flights have all lanes, a healthy dataset gets one lane more.
//   - When there are maxFlights, a healthy dataset takes the place of a flight that hangs (see victim).
func (e *Engine[T, D]) nextQueued(now time.Time, u usage) int {
	most := min(flightsPerLane*e.cfg.Lanes, maxFlights(e.cfg))
	if u.alive >= most {
		return -1
	}
	free, room := u.lanes < e.cfg.Lanes, u.flights < maxFlights(e.cfg)
	extra := u.lanes == e.cfg.Lanes && !e.allLongAt().After(now)
	evicts := u.evicted < maxFlights(e.cfg) && e.victim(now) != nil
	healthyAllowed, otherAllowed := (free || extra) && (room || evicts), free && room
	failingAllowed := otherAllowed && u.failingLanes < maxFailing(e.cfg) && u.failingFlights < max(most/2, 1)
	healthy, other, failing := -1, -1, -1 // the first of each kind
	for i, s := range e.queue {
		switch {
		case s.healthy():
			if healthyAllowed && healthy < 0 {
				healthy = i
			}
		case !s.lastAttemptFailed():
			if otherAllowed && other < 0 {
				other = i
			}
		case !failingAllowed:
		case now.Sub(s.queuedAt) >= e.cfg.Retry.Max:
			if other < 0 {
				other = i
			}
		case failing < 0:
			failing = i
		}
	}
	switch {
	case healthy >= 0 && (other < 0 || !e.otherNext):
		return healthy
	case other >= 0:
		return other
	}
	return failing
}

// grant gives a lane to the flight at index i of resuming.
func (e *Engine[T, D]) grant(i int) {
	f := e.resuming[i]
	e.resuming = slices.Delete(e.resuming, i, i+1)
	f.yielded.Store(false)
	f.granted <- struct{}{} // has space, because a flight waits for one lane at a time
}

// start starts a job for the dataset at index i of the queue. Only now does it choose the version, so that the job includes what was
// announced while the dataset waited.
func (e *Engine[T, D]) start(i int, now time.Time, u usage) {
	s := e.queue[i]
	e.queue = slices.Delete(e.queue, i, i+1)
	s.queued = false
	if s.storedTried && !s.wantsRefresh() {
		return // since the dataset was queued, the target was barred or rejected, or belongs to another store
	}
	replay := s.nextReplay(now)
	if replay == nil && s.storedTried && (!s.wantsTarget() || s.targetAt().After(now)) {
		return // the replay ended
	}
	if u.flights >= maxFlights(e.cfg) {
		e.evict(now)
	}
	e.otherNext = s.healthy()
	f := &flight[T, D]{
		dataset: s, failing: s.lastAttemptFailed(), healthy: s.healthy(), stored: !s.storedTried, began: now, granted: make(chan struct{}, 1),
	}
	f.ctx, f.cancel = context.WithCancelCause(e.ctx)
	e.flights = append(e.flights, f)
	s.running = true
	if replay != nil {
		served := s.served.Load()
		e.jobs <- job[T, D]{dataset: s, rec: served.Record, served: served, replay: replay, flight: f}
		return
	}
	goal, pinned := s.goal(), s.pins.held != nil
	s.storedTried, s.tried = true, goal.Version
	s.updateHealth(func(h *Health) { h.Refreshing, h.RefreshingSince = true, now })
	// The channel has space for every flight.
	e.jobs <- job[T, D]{
		dataset: s, stored: f.stored, rec: goal, served: s.served.Load(), replaces: !f.stored && (s.replacement != nil || pinned), pinned: pinned, flight: f,
	}
}
