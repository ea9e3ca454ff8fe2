package refresh

import (
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/backoff"
)

const (
	// pendingReplays bounds the replays that wait for the loop.
	pendingReplays = 16
	// maxReplayTries is how often a load of a replay is tried. A relay that is busy, because many instances replay at a time, fails some.
	maxReplayTries = 5
)

var (
	// ErrNoReplay is returned for a replay that the dataset's state does not allow. Nothing was done. The message says why.
	ErrNoReplay = errors.New("the version is not replayed")
	// ErrReplaysWait is returned by [Engine.Replay] when too many replays wait for the loop.
	ErrReplaysWait = errors.New("too many replays wait")
)

// Replay is an order to take the served version of a dataset in again.
type Replay struct {
	// ID is for the Watcher.
	ID      string
	Dataset string
	// Version is the version that must be served; its Version is 0 for any, and its ID is zero for any id.
	Version dataset.Ref
	// From is the version since which the Watcher receives the changes; 0 for none. It requires a load.
	From uint64
	// Full drops the table: the snapshot and the deltas after it are pulled and replace it.
	Full bool
	// Ended is called once: with the served version after the replay, and otherwise with the error, which is an [ErrNoReplay] or that of
	// the last attempt. The loop calls it, so it must return at once.
	Ended func(ReplayResult)
	// Failed, if not nil, is called for each failed attempt that will be retried. It must return at once.
	Failed func(err error)
}

// ReplayResult is the end of a [Replay].
type ReplayResult struct {
	Version  dataset.Ref
	Pull     Pull // zero unless the version was loaded
	Duration time.Duration
	Err      error
}

// loads reports whether the replay loads the version from the relays.
func (r *Replay) loads() bool { return r.Full || r.From > 0 }

// refuses returns why r cannot replay the served version; nil if it can.
func refuses[T any](r *Replay, v *Served[T]) error {
	if v == nil {
		return fmt.Errorf("%w: no version of %s is served yet", ErrNoReplay, r.Dataset)
	}
	served, ref := v.Record, v.Ref()
	switch {
	case served.Deleted:
		return fmt.Errorf("%w: version %d of %s is %s", ErrNoReplay, ref.Version, r.Dataset, served.DeletedText())
	case r.Version.Version != 0 && r.Version.Version != ref.Version:
		return fmt.Errorf("%w: version %d is served, and not version %d", ErrNoReplay, ref.Version, r.Version.Version)
	case !r.Version.ID.IsZero() && r.Version.ID != ref.ID:
		return fmt.Errorf("%w: version %s is served, and not version %s", ErrNoReplay, ref, r.Version)
	case r.loads() && v.Damage != nil:
		return fmt.Errorf("%w: version %d was recovered from a damaged cache folder, and its record is lost; the next version replaces it", ErrNoReplay, ref.Version)
	case r.From >= served.Version:
		return fmt.Errorf("%w: version %d is served, so there are no changes since version %d", ErrNoReplay, ref.Version, r.From)
	case r.From > 0:
		if why := fleet.NoChangesSince(served, r.From); why != "" {
			return fmt.Errorf("%w: %s", ErrNoReplay, why)
		}
	}
	return nil
}

// replaying is the replay of a dataset that waits for a load, or whose load is in flight. Only the loop uses it.
type replaying struct {
	*Replay
	began   time.Time
	tries   int
	retryAt time.Time // when the backoff ends; zero without one
	backoff *backoff.Backoff
}

// Replay orders a replay of a dataset that the engine has. It does not wait: the result is passed to r.Ended. The error is an
// [ErrReplaysWait].
func (e *Engine[T, D]) Replay(r Replay) error {
	select {
	case e.replays <- &r:
		return nil
	default:
		return fmt.Errorf("%w; retry later", ErrReplaysWait)
	}
}

// onReplay replays the served version, or queues a load of it. A dataset has one replay with a load at a time.
func (e *Engine[T, D]) onReplay(r *Replay) {
	s, now := e.datasets[r.Dataset], time.Now()
	if s == nil {
		return
	}
	served := s.served.Load()
	if err := s.refuseReplay(r, served); err != nil {
		r.Ended(ReplayResult{Err: err})
		return
	}
	if r.loads() {
		s.replay = &replaying{Replay: r, began: now, backoff: e.cfg.Retry.newBackoff()}
		return
	}
	defer func() { r.Ended(ReplayResult{Version: served.Ref(), Duration: time.Since(now)}) }() // also if the Watcher panics
	var none D
	e.deps.Watcher.Replayed(*r, served, served, none)
}

// refuseReplay returns why r cannot begin; nil if it can.
func (s *datasetState[T, D]) refuseReplay(r *Replay, served *Served[T]) error {
	if r.loads() && s.replay != nil {
		return fmt.Errorf("%w: another replay of %s is loading it; retry when that has ended", ErrNoReplay, s.name)
	}
	if n := len(s.abandoned); r.loads() && n >= maxAbandoned {
		return fmt.Errorf("%w: %d goroutines hang at versions of %s: restart the instance", ErrNoReplay, n, s.name)
	}
	return refuses(r, served)
}

// dueAt returns when the next attempt may begin, of the target or of a replay.
func (s *datasetState[T, D]) dueAt() time.Time {
	switch {
	case s.replay == nil:
		return s.targetAt()
	case s.wantsTarget():
		return earlier(s.targetAt(), s.replay.retryAt)
	}
	return s.replay.retryAt
}

// targetAt returns when the next attempt at the target may begin: after the backoff, and after the wait for pins.
func (s *datasetState[T, D]) targetAt() time.Time {
	if s.pins.holdUntil.After(s.retryAt) {
		return s.pins.holdUntil
	}
	return s.retryAt
}

// nextReplay returns the replay to load now; nil if there is none. The target comes first, unless it failed and its backoff has not ended.
// nextReplay ends a replay that the served version no longer allows.
func (s *datasetState[T, D]) nextReplay(now time.Time) *replaying {
	if s.replay == nil || !s.storedTried || s.replay.retryAt.After(now) || s.wantsTarget() && !s.targetAt().After(now) {
		return nil
	}
	r, served := s.replay, s.served.Load()
	if err := refuses(r.Replay, served); err != nil {
		s.endReplay(ReplayResult{Err: err})
		return nil
	}
	return r
}

// endReplay ends the replay of the dataset.
func (s *datasetState[T, D]) endReplay(result ReplayResult) {
	r := s.replay
	s.replay = nil
	result.Duration = time.Since(r.began)
	r.Ended(result)
}

// onReplayLoaded swaps the table of a replay in. The dataset's freshness stays as it is, because the version is the same.
func (e *Engine[T, D]) onReplayLoaded(m *loadedJob[T, D]) {
	s := m.dataset
	before := s.served.Load()
	if s.replay != m.replay || before == nil || before.Ref() != m.version.ref() {
		return
	}
	now := &Served[T]{
		Record: before.Record, ID: before.ID, Value: m.version.Value, At: time.Now(), Pull: m.version.Pull, Duration: m.duration,
	}
	r := *s.replay.Replay
	s.served.Store(now)
	s.show(now)
	m.swapped = true
	defer s.endReplay(ReplayResult{Version: now.Ref(), Pull: now.Pull}) // also if the Watcher panics
	e.deps.Watcher.Replayed(r, before, now, m.version.Difference)
}

// onReplayFailed ends the replay after a failed load, or starts its backoff. The version before is still served, so the dataset does not
// count as failing.
func (e *Engine[T, D]) onReplayFailed(m *jobDone[T, D]) {
	s, r := m.job.dataset, m.job.replay
	if s.replay != r {
		return
	}
	r.tries++
	if m.abandoned || r.tries == maxReplayTries {
		s.endReplay(ReplayResult{Err: m.err})
		return
	}
	r.retryAt = time.Now().Add(e.pauseAfter(r.backoff, m.err))
	if r.Failed != nil {
		r.Failed(m.err)
	}
}

// pauseAfter returns the pause after a failure. An overloaded relay says when to retry. No relay can keep an instance stale for longer than
// Retry.Max.
func (e *Engine[T, D]) pauseAfter(b *backoff.Backoff, err error) time.Duration {
	pause := b.Next()
	if asked := (interface{ RetryAfter() time.Duration })(nil); errors.As(err, &asked) {
		pause = max(pause, min(asked.RetryAfter(), e.cfg.Retry.Max))
	}
	return pause
}
