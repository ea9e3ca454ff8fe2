package refresh

import (
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/backoff"
)

// datasetState is the state of one dataset.
type datasetState[T, D any] struct {
	name   string
	served atomic.Pointer[Served[T]]
	health atomic.Pointer[Health]
	// current is what readers have: served, unless that has no value.
	current atomic.Pointer[Served[T]]
	first   chan struct{}                 // closed when current is set
	gone    atomic.Pointer[chan struct{}] // see Engine.Gone

	// Only the loop uses the following fields.

	target dataset.VersionRecord // the newest announced version; its Version is 0 if there is none
	// replacement is the store's newest version, if the served version is not in the store's history; nil if it is.
	replacement  *dataset.VersionRecord
	disowned     []dataset.VersionID // versions that are not in the store's history, or could not be loaded
	barred       []Barred            // versions that must not be loaded
	quarantined  Barred              // the barred version that would be served otherwise; its Ref is zero if there is none
	targetBarred bool
	verify       bool              // the next catch-up queries the relays, whatever the log has; until that query begins
	storeNewest  dataset.VersionID // the newest version that a beacon or a relay of the instance's store named last
	unserved     unserved
	beacons      beacons
	settled      fleet.State // the last state that was not part of a routine refresh

	storedTried  bool // the stored version was loaded, or is being loaded
	reloadStored bool // the stored version has to be loaded again
	running      bool // a job is in flight
	queued       bool
	queuedAt     time.Time
	tried        uint64    // the version of the last attempt
	failedAt     time.Time // when the last attempt failed
	retryAt      time.Time // when the backoff ends; zero without one
	backoff      *backoff.Backoff
	abandoned    []dataset.Ref // versions of abandoned jobs whose goroutines still hang

	pins      pinState
	replay    *replaying // that waits or loads; nil if there is none
	deferred  deferredRecord
	queryFor  *catchUpRun // the catch-up that waits for a query to start; nil if none does
	queryHung bool        // the last query of the relays took queryHangsAfter or longer
	finishing finishQueue // guarded by finisher.mu
}

func (s *datasetState[T, D]) version() uint64 { return versionOf(s.served.Load().record()) }

// known returns the newest version that is served or whose record is known.
func (s *datasetState[T, D]) known() uint64 { return max(s.target.Version, s.version()) }

// updateHealth changes the dataset's health. Only the loop calls it.
func (s *datasetState[T, D]) updateHealth(change func(*Health)) {
	h := *s.health.Load()
	change(&h)
	s.health.Store(&h)
}

// syncHealth derives the versions and times in the health from the dataset's state. It drops the unserved versions that are served or
// above the newest, and adds the newest.
func (s *datasetState[T, D]) syncHealth() {
	newest := max(s.known(), s.beacons.newest, s.quarantined.Ref.Version)
	s.unserved = s.unserved.after(s.version()).upTo(newest)
	if newest > s.version() {
		s.unserved = s.unserved.add(newest, time.Now())
	}
	s.updateHealth(func(h *Health) {
		h.Announced, h.Newest = s.known(), newest
		h.BehindSince = s.unserved.since()
		if h.Diverged != "" && s.replacement != nil && (h.BehindSince.IsZero() || h.DivergedSince.Before(h.BehindSince)) {
			h.BehindSince = h.DivergedSince
		}
		if s.quarantined.Ref.Version > 0 && h.QuarantinedSince.IsZero() {
			h.QuarantinedSince = time.Now()
		} else if s.quarantined.Ref.Version == 0 {
			h.QuarantinedSince = time.Time{}
		}
		h.Quarantined, h.QuarantinedRef = s.quarantined.Why, s.quarantined.Ref
		s.syncPin(h)
	})
}

// noteVersion records that the version exists.
func (s *datasetState[T, D]) noteVersion(version uint64) {
	if version > s.version() {
		s.unserved = s.unserved.add(version, time.Now())
	}
	s.syncHealth()
}

// setConfirmed records that the newest version was known at the given time.
func (s *datasetState[T, D]) setConfirmed(at time.Time) {
	s.updateHealth(func(h *Health) {
		if at.After(h.Confirmed) {
			h.Confirmed = at
		}
	})
}

// resetRetry ends the backoff, so that the next attempt starts at once.
func (s *datasetState[T, D]) resetRetry() {
	s.failedAt, s.retryAt = time.Time{}, time.Time{}
	s.backoff.Reset()
}

// clearFailure forgets the failed attempts and ends their backoff.
func (s *datasetState[T, D]) clearFailure() {
	s.resetRetry()
	s.updateHealth(func(h *Health) { h.Err, h.Failures, h.FailingSince = nil, 0, time.Time{} })
}

// lastAttemptFailed reports whether the last attempt of the dataset failed.
func (s *datasetState[T, D]) lastAttemptFailed() bool {
	return s.storedTried && s.health.Load().Failures > 0
}

// healthy reports whether a version is served and the last attempt did not fail.
func (s *datasetState[T, D]) healthy() bool {
	return s.storedTried && s.served.Load() != nil && !s.lastAttemptFailed()
}

// targetFailed reports whether the last attempt failed and was one at the target.
func (s *datasetState[T, D]) targetFailed() bool {
	return s.health.Load().Failures > 0 && s.tried == s.target.Version
}
