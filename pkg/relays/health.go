package relays

import (
	"slices"
	"time"
)

// cooldown is how long a relay that failed ranks after the others. It is short because a restarted relay is back within
// seconds, and because every object that another relay loads in its place is loaded twice.
const cooldown = 30 * time.Second

// Standing sums up a relay's recent answers. It decides the relay's rank.
type Standing string

// The standings of a relay.
const (
	// Good relays rank first.
	Good Standing = "good"
	// Failed relays failed recently, and rank after those in good standing.
	Failed Standing = "failed"
	// Distrusted relays sent wrong bytes recently, and rank last.
	Distrusted Standing = "distrusted"
)

// Health is the record of one relay.
type Health struct {
	Relay    string // base URL without its password
	Standing Standing
	// Failures counts how often the relay was down, silent or without a usable answer. A busy relay has not failed.
	Failures uint64
	// Refusals counts how often the relay sent wrong bytes.
	Refusals uint64
	// Busy counts how often the relay answered that it was busy.
	Busy uint64
	// Err is the last failure or refusal; nil if there was none.
	Err error
}

// now is monotonic, so that a step of the wall clock changes no standing. It is never 0.
func (s *Set) now() time.Duration { return time.Since(s.start) + 1 }

// Fail records that r failed with err. It reports whether this is the first failure since r last served.
func (s *Set) Fail(r *Relay, err error) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = r.failed == 0
	r.failed = s.now()
	r.health.Failures++
	r.health.Err = err
	return first
}

// Busy records that r answered that it was busy. It does not change r's standing.
func (s *Set) Busy(r *Relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health.Busy++
}

// Refuse records that r sent wrong bytes, as err describes.
func (s *Set) Refuse(r *Relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = s.now()
	r.health.Refusals++
	r.health.Err = err
}

// EndDistrust ends the distrust of r, because the wrong bytes came from the store, as err describes.
func (s *Set) EndDistrust(r *Relay, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = 0
	r.health.Err = err
}

// Served records that r sent everything that was requested. The bytes may still prove wrong. It reports whether r had
// failed before.
func (s *Set) Served(r *Relay) (recovered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	recovered = r.failed != 0
	r.failed = 0
	return recovered
}

// standing returns the standing of r, and when it began.
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

// AnyTrusted reports whether there is a relay that is not distrusted.
func (s *Set) AnyTrusted() bool {
	return slices.ContainsFunc(s.all, func(r *Relay) bool {
		standing, _ := s.standing(r)
		return standing != Distrusted
	})
}

// Health returns the health of each relay, in the configured order.
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
