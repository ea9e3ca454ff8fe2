package relays

import (
	"slices"
	"time"
)

// cooldown is how long a relay that failed is asked after the others. It is short because a relay that restarts is
// back within seconds, and every object that another relay loads in its place is loaded twice.
const cooldown = 30 * time.Second

// Standing is what those who ask a relay think of it.
type Standing string

// The standings of a relay.
const (
	// Good: asked first.
	Good Standing = "good"
	// Failed: it failed lately, and is asked after those in good standing.
	Failed Standing = "failed"
	// Distrusted: it gave wrong bytes lately, and is asked only if no other relay is left.
	Distrusted Standing = "distrusted"
)

// Health is how a relay did.
type Health struct {
	Relay    string // its base URL without its password
	Standing Standing
	// Failures counts how often it was down, silent or without a usable answer, Refusals how often it gave wrong bytes.
	// A relay that is busy has not failed.
	Failures, Refusals uint64
	// Err is the last of either; nil if there was none.
	Err error
}

// now is monotonic: a step of the wall clock must not bench a relay. It is never 0.
func (s *Set) now() time.Duration { return time.Since(s.start) + 1 }

// Fail takes note that r could not be had. It reports whether that is news: r never failed, or has served since.
func (s *Set) Fail(r *Relay, err error) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = r.failed == 0
	r.failed = s.now()
	r.health.Failures++
	r.health.Err = err
	return news
}

// Refuse takes note that r gave wrong bytes.
func (s *Set) Refuse(r *Relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = s.now()
	r.health.Refusals++
	r.health.Err = err
}

// Absolve takes note that the wrong bytes that r gave last were the fault of the store, as err says.
func (s *Set) Absolve(r *Relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = 0
	r.health.Err = err
}

// Served takes note that r gave all that was asked for. What it gave may still be wrong. It reports whether r is back,
// that is whether it failed before.
func (s *Set) Served(r *Relay) (back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	back = r.failed != 0
	r.failed = 0
	return back
}

// standing returns what to think of r, and since when.
func (s *Set) standing(r *Relay) (Standing, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := s.now()
	switch {
	case r.refused != 0 && now-r.refused < s.distrust:
		return Distrusted, r.refused
	case r.failed != 0 && now-r.failed < cooldown:
		return Failed, r.failed
	}
	return Good, 0
}

// Others reports whether there is a relay that is not distrusted.
func (s *Set) Others() bool {
	return slices.ContainsFunc(s.all, func(r *Relay) bool {
		standing, _ := s.standing(r)
		return standing != Distrusted
	})
}

// Health returns how each relay did, in the configured order.
func (s *Set) Health() []Health {
	all := make([]Health, len(s.all))
	for i, r := range s.all {
		standing, _ := s.standing(r)
		r.mu.Lock()
		all[i] = r.health
		r.mu.Unlock()
		all[i].Relay, all[i].Standing = r.String(), standing
	}
	return all
}
