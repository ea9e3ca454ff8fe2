package refresh

import (
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/internal/guard"
)

// neverAgain is the pause after a failure that every further attempt at the version repeats: an error with a method Permanent that returns
// true. A newer version is tried after Retry.Initial.
const neverAgain = 100 * 365 * 24 * time.Hour

// onLoaded swaps the loaded version in, unless the served version is at least as new.
func (e *Engine[T, D]) onLoaded(m *loadedJob[T, D]) {
	defer close(m.answered)
	if m.replay != nil {
		e.onReplayLoaded(m)
		return
	}
	s := m.dataset
	before := s.served.Load()
	if !s.admits(m) {
		return
	}
	if before != nil && m.version.Record.Version <= before.Record.Version && !m.replaces {
		return
	}
	now := &Served[T]{
		Record: m.version.Record, ID: m.version.ID, Value: m.version.Value, Damage: m.version.Damage, Stored: m.stored, At: time.Now(),
		Pull: m.version.Pull, Duration: m.duration, Kept: m.version.Kept, NoValue: m.version.NoValue,
	}
	if now.ID.IsZero() && now.Damage == nil {
		now.ID = now.Record.VersionID()
	}
	// This order keeps a reader that sees the version from seeing an earlier attempt's failure. The dataset does not count as refreshing
	// after the swap, because a newer version may wait.
	s.clearFailure()
	s.updateHealth(func(h *Health) { h.Refreshing = false })
	s.served.Store(now)
	s.show(now)
	m.swapped = true
	if m.stored {
		e.checkStored(s, now)
	} else {
		s.verify = false
		if s.replacement == nil || s.replacement.Ref() == now.Ref() {
			s.endDivergence()
		}
	}
	s.syncHealth()
	if now.Damage != nil {
		e.deps.Watcher.StoredUnusable(s.name, now.Damage)
	}
	e.deps.Watcher.Swapped(before, now, m.version.Difference)
}

// checkStored handles the swap of a stored version. It doubts a version that is not the store's newest, adopts the version's store if no
// relay has named one, and reads the barred versions.
func (e *Engine[T, D]) checkStored(s *datasetState[T, D], now *Served[T]) {
	if !s.storeNewest.IsZero() && s.storeNewest != now.ID && s.target.Version <= now.Record.Version {
		s.updateHealth(func(h *Health) {
			h.Doubt = fmt.Sprintf("version %s was in the local folder, and the newest version of the store is another", now.Ref())
		})
		e.verifyWithRelays(s, fmt.Sprintf("version %s of the local folder may not be in the store's history", now.Record.ID()))
	}
	if e.Store().ID.IsZero() {
		e.updateStore(func(st *Store) { st.ID = now.Record.StoreID })
	}
	e.readBarred(s)
}

// onJobDone frees the lane, and starts the backoff after a failure.
func (e *Engine[T, D]) onJobDone(m *jobDone[T, D]) {
	s := m.job.dataset
	e.endFlight(m.job.flight)
	s.running = false
	e.reload(s)
	s.updateHealth(func(h *Health) { h.Refreshing = false })
	if m.abandoned {
		s.abandoned = append(s.abandoned, m.job.ref())
	}
	switch {
	case m.err != nil && m.job.replay != nil:
		e.onReplayFailed(m)
	case m.err != nil && m.job.stored:
		e.readBarred(s)
		if !errors.Is(m.err, ErrNone) {
			e.deps.Watcher.StoredUnusable(s.name, m.err)
		}
	case m.err != nil:
		e.onFailure(m)
	}
}

// onFailure handles a failed load of a record.
func (e *Engine[T, D]) onFailure(m *jobDone[T, D]) {
	s, rec, now := m.job.dataset, m.job.rec, time.Now()
	e.startBackoff(s, m, now)
	f := Failure{Record: rec, Err: m.err, Duration: m.duration, Retry: s.retryAt}
	if s.goalHangs() {
		f.Retry = time.Time{}
		if len(s.abandoned) >= maxAbandoned {
			f.Err = fmt.Errorf("%w; %d goroutines hang at versions of %s, and no newer version is tried before one of them returns: restart the instance",
				m.err, len(s.abandoned), s.name)
		}
	}
	s.updateHealth(func(h *Health) {
		if h.Failures == 0 {
			h.FailingSince = now
		}
		h.Failures++
		h.Failed++
		if guard.Stack(f.Err) != "" {
			h.Panicked++
		}
		h.Err, f.Attempt = f.Err, h.Failures
		h.LastErr, h.LastErrAt = f.Err, now
	})
	if known := !e.Store().ID.IsZero() || !rec.StoreID.IsZero(); known && (s.health.Load().Failures == 1 || !s.confirmed(rec.Ref())) {
		// A version that no beacon names may be in no store. The relays tell, and a later event may have raised the target.
		e.verifyWithRelays(s, fmt.Sprintf("version %s could not be loaded", rec.ID()))
	}
	if s.targetBarred && s.pins.held == nil {
		s.clearFailure()
	}
	e.deps.Watcher.Failed(f)
}

// startBackoff sets when the dataset is tried again after a failure.
func (e *Engine[T, D]) startBackoff(s *datasetState[T, D], m *jobDone[T, D], now time.Time) {
	pause := e.pauseAfter(s.backoff, m.err)
	if refused := (interface{ Permanent() bool })(nil); errors.As(m.err, &refused) && refused.Permanent() {
		pause = neverAgain
	}
	s.failedAt, s.retryAt = now, now.Add(pause)
	if goal := s.goal().Ref(); goal.Version > 0 && goal != m.job.ref() {
		e.shortenBackoff(s) // the failure says nothing about the goal, which is another since the job began
	}
}

// onStoredAgain loads the stored versions of datasets without a served version again.
func (e *Engine[T, D]) onStoredAgain() {
	for _, name := range e.cfg.Datasets {
		if s := e.datasets[name]; s.storedTried && s.served.Load() == nil {
			s.reloadStored = true
			s.pins.storedRead = s.pins.storedRead && s.pins.known
			e.reload(s)
		}
	}
}

// reload queues the dataset for another load of its stored version, if that is wanted. It waits for a job in flight to end.
func (e *Engine[T, D]) reload(s *datasetState[T, D]) {
	if !s.reloadStored || s.running {
		return
	}
	s.reloadStored = false
	if s.served.Load() == nil {
		s.storedTried = false
		if !s.queued {
			e.enqueue(s)
		}
	}
}
