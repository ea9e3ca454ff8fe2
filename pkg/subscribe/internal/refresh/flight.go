package refresh

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lendAfter is how long a refresh goes without progress until it does not count as one of the lanes any more.
	lendAfter = 200 * time.Millisecond
	// longAfter is how long a refresh takes until a dataset that is served does not wait for its lane.
	longAfter = 2 * time.Second
	// hangsAfter is how long a refresh lends its lane until it counts as one that hangs.
	hangsAfter = time.Second
	// flightsPerLane bounds the refreshes under way to so many times the lanes, not counting those that hang. As many may hang as well.
	flightsPerLane = 8
)

// flight is a job under way. It has a lane for as long as it makes progress: one that waits for a relay or a disk that hangs lends its
// lane to others, and waits for a free one when it can go on.
type flight[T, D any] struct {
	set     *set[T, D]
	failing bool // an earlier attempt of the dataset failed, and none has succeeded since
	began   time.Time

	lent     atomic.Bool // written by the loop
	resuming sync.Mutex  // held while the job waits for a lane

	granted chan struct{} // has room for one; the flight has a lane again

	// What follows is the loop's own.
	lentAt time.Time // zero if the flight has a lane, or waits for one
	landed bool
}

// hangs reports whether the flight hangs now.
func (f *flight[T, D]) hangs(now time.Time) bool {
	return !f.lentAt.IsZero() && now.Sub(f.lentAt) >= hangsAfter
}

// maxFlights returns how many refreshes may be under way, with those that hang.
func maxFlights(cfg Config) int {
	return min(2*flightsPerLane*cfg.Lanes, max(len(cfg.Datasets), cfg.Lanes))
}

// busy returns how many flights have a lane, and how many of them are of datasets that fail.
func (e *Engine[T, D]) busy() (all, failing int) {
	for _, f := range e.flights {
		if !f.lent.Load() {
			all++
			if f.failing {
				failing++
			}
		}
	}
	return all, failing
}

// lend frees the lane of a flight that makes no progress.
func (e *Engine[T, D]) lend(f *flight[T, D]) {
	if !f.landed && !f.lent.Load() {
		f.lent.Store(true)
		f.lentAt = time.Now()
	}
}

// resume waits until the flight, which can go on, has a lane again, or ctx ends.
func (e *Engine[T, D]) resume(ctx context.Context, f *flight[T, D]) {
	f.resuming.Lock() // several goroutines may work for the flight
	defer f.resuming.Unlock()
	if !f.lent.Load() {
		return
	}
	select {
	case e.messages <- message[T, D]{resumes: f}:
	case <-ctx.Done():
		return
	}
	select {
	case <-f.granted:
	case <-ctx.Done():
	}
}

func (e *Engine[T, D]) onResumes(f *flight[T, D]) {
	if !f.landed && f.lent.Load() && !slices.Contains(e.resuming, f) {
		e.resuming = append(e.resuming, f)
		f.lentAt = time.Time{}
	}
}

// land ends the flight.
func (e *Engine[T, D]) land(f *flight[T, D]) {
	f.landed = true
	same := func(g *flight[T, D]) bool { return g == f }
	e.flights, e.resuming = slices.DeleteFunc(e.flights, same), slices.DeleteFunc(e.resuming, same)
}

// longest returns when all flights that have a lane are long ones.
func (e *Engine[T, D]) longest(now time.Time) (at time.Time) {
	for _, f := range e.flights {
		if long := f.began.Add(longAfter); !f.lent.Load() && long.After(at) {
			at = long
		}
	}
	return at
}

// hanging returns the next time when a flight counts as one that hangs, and there is more room; the zero time if there is none.
func (e *Engine[T, D]) hanging(now time.Time) (at time.Time) {
	for _, f := range e.flights {
		if hangs := f.lentAt.Add(hangsAfter); !f.lentAt.IsZero() && hangs.After(now) && (at.IsZero() || hangs.Before(at)) {
			at = hangs
		}
	}
	return at
}

// maxFailing returns how many lanes datasets that fail may have.
func maxFailing(cfg Config) int { return max(cfg.Lanes-1, 1) }

// dispatch hands lanes to flights that go on and to datasets that wait, in turn. The version is chosen only now, so that what was
// announced while the dataset waited is in it.
func (e *Engine[T, D]) dispatch(now time.Time) {
	for {
		all, failing := e.busy()
		r := -1
		if all < e.cfg.Lanes {
			r = slices.IndexFunc(e.resuming, func(f *flight[T, D]) bool { return !f.failing || failing < maxFailing(e.cfg) })
		}
		i := e.next(now)
		if r >= 0 && (i < 0 || !e.startsNext) {
			e.startsNext = true
			f := e.resuming[r]
			e.resuming = slices.Delete(e.resuming, r, r+1)
			f.lent.Store(false)
			f.granted <- struct{}{} // has room: a flight waits once at a time
			continue
		}
		if i < 0 {
			return
		}
		e.startsNext = false
		s := e.queue[i]
		e.queue = slices.Delete(e.queue, i, i+1)
		s.queued = false
		if s.begun && s.blocked {
			continue // it was aimed at a quarantined version since it was queued
		}
		s.running = true
		f := &flight[T, D]{set: s, failing: s.fails(), began: now, granted: make(chan struct{}, 1)}
		e.flights = append(e.flights, f)
		s.tried = s.target.Version
		stored := !s.begun
		move := !stored && s.move != nil
		s.begun = true
		s.update(func(h *Health) { h.Refreshing, h.RefreshingSince = true, now })
		// There is room for every flight.
		e.jobs <- job[T, D]{set: s, stored: stored, rec: s.target, served: s.served.Load(), move: move, flight: f}
	}
}

// fails reports whether the last attempt of the dataset failed.
func (s *set[T, D]) fails() bool { return s.begun && s.health.Load().Failures > 0 }

// next returns the place in the queue of the dataset that gets a lane now; below 0 if none does.
//
// Datasets that fail stand behind the others, unless they have waited for Retry.Max. They never have all lanes, nor more than half of
// the flights. When all lanes have long flights, a dataset that is served already gets one lane more.
func (e *Engine[T, D]) next(now time.Time) int {
	all, failing := e.busy()
	alive, failingFlights := 0, 0
	for _, f := range e.flights {
		if f.failing {
			failingFlights++
		}
		if !f.hangs(now) {
			alive++
		}
	}
	most := min(flightsPerLane*e.cfg.Lanes, maxFlights(e.cfg))
	if alive >= most || len(e.flights) >= maxFlights(e.cfg) {
		return -1
	}
	lane := all < e.cfg.Lanes
	retry := lane && failing < maxFailing(e.cfg) && failingFlights < max(most/2, 1)
	spare := all == e.cfg.Lanes && !e.longest(now).After(now)
	first := -1
	for i, s := range e.queue {
		switch fails := s.fails(); {
		case fails && retry && now.Sub(s.queuedAt) >= e.cfg.Retry.Max:
			return i
		case fails && retry && first < 0:
			first = i
		case !fails && (lane || spare && s.begun && s.served.Load() != nil):
			return i
		}
	}
	return first
}

// lookAgain has stored versions read that could not be, as long as nothing is served.
func (e *Engine[T, D]) lookAgain() {
	for _, name := range e.cfg.Datasets {
		if s := e.sets[name]; s.begun && s.served.Load() == nil {
			s.again = true
			e.look(s)
		}
	}
}

// look has the stored version of s read again, if that is wanted and no refresh is under way.
func (e *Engine[T, D]) look(s *set[T, D]) {
	if !s.again || s.running {
		return
	}
	s.again = false
	if s.served.Load() == nil {
		s.begun = false
		if !s.queued {
			e.enqueue(s)
		}
	}
}
