package refresh

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/supervise"
)

// message is a message to the loop from another goroutine of the engine. Exactly one field is set.
type message[T, D any] struct {
	loaded     *loadedJob[T, D]
	jobDone    *jobDone[T, D]
	returned   *job[T, D]    // its goroutine returned after it was abandoned
	yields     *flight[T, D] // has made no progress for yieldAfter
	resumes    *flight[T, D] // makes progress again
	finishDone *finishDone[T, D]
	logRead    *catchUpRun
	queried    *relayQuery[T, D]
	pinsRead   *pinsWork[T, D] // its local copy was read, and it goes on
	pinsDone   *pinsWork[T, D]
}

// send sends m to the loop, unless the loop has ended.
func (e *Engine[T, D]) send(m message[T, D]) {
	select {
	case e.messages <- m:
	case <-e.ended:
	}
}

// sendUntil sends m to the loop and reports true, or false if ctx ends before.
func (e *Engine[T, D]) sendUntil(ctx context.Context, m message[T, D]) bool {
	select {
	case e.messages <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

// supervise runs the loop until ctx ends, and restarts it after a panic.
func (e *Engine[T, D]) supervise(ctx context.Context) {
	reason := "start"
	supervise.Run(ctx, e.cfg.Retry.Initial, e.cfg.Retry.Max, func(ctx context.Context) error {
		e.requestCatchUp(reason)
		e.loop(ctx)
		return nil
	}, func(err error, _ time.Duration) {
		reason = "restart of the loop"
		_ = try(func() { e.deps.Watcher.Restarted(err) }) // a Watcher that panics may also panic here
	})
}

// loop handles one message after the other until ctx ends. A handler changes the state before it calls the Watcher, so that a
// panic of the Watcher leaves a complete state.
func (e *Engine[T, D]) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	versions, entries, catchUps, beacons := e.deps.Versions, e.deps.Entries, e.deps.CatchUps, e.deps.Beacons
	for {
		// gofail: var refreshLoop struct{}
		now := time.Now()
		next, changeAt := e.startDue(now), e.reportStates(now)
		timer.Reset(earlier(next, changeAt).Sub(now))
		select {
		case <-ctx.Done():
			return
		case rec, ok := <-versions:
			if !ok {
				versions = nil
				continue
			}
			e.onRecord(rec)
		case entry, ok := <-entries:
			if !ok {
				entries = nil
				continue
			}
			e.onEntry(entry)
		case reason, ok := <-catchUps:
			if !ok {
				catchUps = nil
				continue
			}
			e.requestCatchUp(reason)
		case received, ok := <-beacons:
			if !ok {
				beacons = nil
				continue
			}
			e.reportPassed(changeAt)
			e.onBeacons(received)
		case m := <-e.messages:
			e.reportPassed(changeAt)
			e.onMessage(m)
		case r := <-e.replays:
			e.onReplay(r)
		case <-e.deps.StoredAgain:
			e.onStoredAgain()
		case <-timer.C:
		}
	}
}

func (e *Engine[T, D]) onMessage(m message[T, D]) {
	switch {
	case m.loaded != nil:
		e.onLoaded(m.loaded)
	case m.jobDone != nil:
		e.onJobDone(m.jobDone)
	case m.returned != nil:
		e.onReturned(m.returned)
	case m.yields != nil:
		e.onYields(m.yields)
	case m.resumes != nil:
		e.onResumes(m.resumes)
	case m.finishDone != nil:
		e.onFinishDone(m.finishDone)
	case m.logRead != nil:
		e.onLogRead(m.logRead)
	case m.queried != nil:
		e.onQueried(m.queried)
	case m.pinsRead != nil:
		e.onPinsRead(m.pinsRead)
	case m.pinsDone != nil:
		e.onPinsDone(m.pinsDone)
	}
}

// startDue starts everything that is due and returns when it must be called next.
func (e *Engine[T, D]) startDue(now time.Time) time.Time {
	next := e.applyDeferred(now, now.Add(time.Hour))
	next = e.queueDue(now, next)
	e.dropNeedlessCatchUp()
	if c := &e.catchUp; !c.running && c.reason != "" {
		if c.retryAt.After(now) {
			next = earlier(next, c.retryAt)
		} else {
			e.startCatchUp()
		}
	}
	next = e.startPins(now, e.startQueries(now, next))
	e.dispatch(now)
	next = e.queueDue(now, next) // a dataset whose turn came with nothing due has left the queue
	if len(e.queue) == 0 {
		return next
	}
	if at := e.allLongAt(); at.After(now) {
		next = earlier(next, at)
	}
	if at := e.nextRoomAt(now); !at.IsZero() {
		next = earlier(next, at)
	}
	return next
}

// queueDue appends to the queue the datasets whose refresh is due. It returns when the next one will be due, or next if that is earlier.
func (e *Engine[T, D]) queueDue(now, next time.Time) time.Time {
	for _, name := range e.cfg.Datasets {
		s := e.datasets[name]
		if s.running || s.queued || !s.wantsRefresh() {
			continue
		}
		at := s.dueAt()
		if !at.After(now) {
			at = e.finisher.waitUntil(s, now)
		}
		if at.After(now) {
			next = earlier(next, at)
			continue
		}
		e.enqueue(s)
	}
	return next
}

// wantsRefresh reports whether the target, or the served version again, is to be loaded.
func (s *datasetState[T, D]) wantsRefresh() bool { return s.wantsTarget() || s.replay != nil }

// wantsTarget reports whether the target, or the pinned version, is to be loaded.
func (s *datasetState[T, D]) wantsTarget() bool {
	wants := s.target.Version > s.version() || s.replacement != nil
	if s.pins.held != nil {
		wants = s.wantsPinned()
	}
	return wants && !s.goalBarred() && !s.goalHangs()
}

func (e *Engine[T, D]) enqueue(s *datasetState[T, D]) {
	s.queued, s.queuedAt = true, time.Now()
	e.queue = append(e.queue, s)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// onRecord handles a version record that an event, the log or a relay brought.
func (e *Engine[T, D]) onRecord(rec dataset.VersionRecord) {
	s := e.datasets[rec.Dataset]
	switch {
	case s == nil:
		return
	case e.ofOtherStore(rec):
		e.ignoreOtherStore(s, rec.StoreID, "events")
		return
	case s.targetBarred && rec.Version == s.target.Version && rec.VersionID() != s.target.VersionID():
		e.verifyWithRelays(s, fmt.Sprintf("an event names version %s, and the quarantined one is %s", rec.Ref(), s.target.Ref()))
		return
	case rec.Version <= s.target.Version || rec.Version <= s.version():
		return
	case len(s.disowned) > 0 && slices.Contains(s.disowned, rec.VersionID()):
		return
	case s.health.Load().Conflict != "" && s.version() > 0:
		return // two publishers contradict each other, so the instance keeps its version
	case !s.mayFollow(rec):
		e.verifyWithRelays(s, fmt.Sprintf("the event of version %s does not lead on from the served version", rec.ID()))
		return
	}
	e.advance(s, rec)
}

// advance makes rec the dataset's target, unless the target or the served version is at least as new.
func (e *Engine[T, D]) advance(s *datasetState[T, D], rec dataset.VersionRecord) {
	if rec.Version <= s.target.Version || rec.Version <= s.version() {
		return
	}
	s.replacement = nil
	s.setTarget(rec)
	if s.targetBarred && s.pins.held == nil {
		s.clearFailure()
	}
	s.noteVersion(rec.Version)
	if !s.running && rec.Version > s.tried && s.pins.held == nil {
		e.shortenBackoff(s)
	}
}

// shortenBackoff ends the backoff of a failed version because a newer one is known. A pause of Retry.Initial after the failure
// stays, so that frequent publishes do not cause frequent attempts while the relays are down.
func (e *Engine[T, D]) shortenBackoff(s *datasetState[T, D]) {
	s.backoff.Reset()
	if soon := s.failedAt.Add(e.cfg.Retry.Initial); !s.failedAt.IsZero() && soon.Before(s.retryAt) {
		s.retryAt = soon
	}
}
