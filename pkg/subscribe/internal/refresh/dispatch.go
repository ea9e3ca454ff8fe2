package refresh

import (
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
			e.start(queued, now)
		default:
			return
		}
	}
}

// usage counts flights. A flight of a dataset whose last attempt failed counts as failing.
type usage struct {
	lanes, failingLanes     int // flights that have a lane
	flights, failingFlights int // all flights
	alive                   int // flights that do not hang
}

func (e *Engine[T, D]) usage(now time.Time) (u usage) {
	for _, f := range e.flights {
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
//   - Datasets that fail stand behind the others, unless they have waited for Retry.Max. They occupy neither all lanes nor more than
//     half of the flights.
//   - When long flights have all lanes, a dataset that is already served gets one lane more.
func (e *Engine[T, D]) nextQueued(now time.Time, u usage) int {
	most := min(flightsPerLane*e.cfg.Lanes, maxFlights(e.cfg))
	if u.alive >= most || u.flights >= maxFlights(e.cfg) {
		return -1
	}
	free := u.lanes < e.cfg.Lanes
	failingAllowed := free && u.failingLanes < maxFailing(e.cfg) && u.failingFlights < max(most/2, 1)
	extra := u.lanes == e.cfg.Lanes && !e.allLongAt().After(now)
	firstFailing := -1
	for i, s := range e.queue {
		switch {
		case !s.lastAttemptFailed():
			if free || extra && s.storedTried && s.served.Load() != nil {
				return i
			}
		case !failingAllowed:
		case now.Sub(s.queuedAt) >= e.cfg.Retry.Max:
			return i
		case firstFailing < 0:
			firstFailing = i
		}
	}
	return firstFailing
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
func (e *Engine[T, D]) start(i int, now time.Time) {
	s := e.queue[i]
	e.queue = slices.Delete(e.queue, i, i+1)
	s.queued = false
	if s.storedTried && s.targetBarred {
		return // the target was barred after the dataset was queued
	}
	f := &flight[T, D]{dataset: s, failing: s.lastAttemptFailed(), began: now, granted: make(chan struct{}, 1)}
	e.flights = append(e.flights, f)
	stored := !s.storedTried
	s.running, s.storedTried, s.tried = true, true, s.target.Version
	s.updateHealth(func(h *Health) { h.Refreshing, h.RefreshingSince = true, now })
	// The channel has space for every flight.
	e.jobs <- job[T, D]{
		dataset: s, stored: stored, rec: s.target, served: s.served.Load(), replaces: !stored && s.replacement != nil, flight: f,
	}
}
