package refresh

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// message is what a lane or the catcher tells the loop. One of the fields is set.
type message[T, D any] struct {
	loaded   *loaded[T, D]
	finished *finished[T, D]
	done     *finishedVersion[T, D]
	idles    *flight[T, D] // it has made no progress for lendAfter
	resumes  *flight[T, D] // it makes progress again
	logged   *caughtUp
	inquired *inquiry[T, D]
	returned *returned[T, D]
}

// supervise runs the loop, again after a panic, until ctx ends.
func (e *Engine[T, D]) supervise(ctx context.Context) {
	policy := e.cfg.Retry.policy()
	reason := "start"
	for {
		began := time.Now()
		err := guard.Try(func() error {
			if reason != "" {
				e.wantCatchUp(reason)
			}
			e.loop(ctx)
			return nil
		})
		if err == nil {
			return // the loop returns only when ctx has ended
		}
		reason = "restart of the loop"
		// A watcher that panics may do so here too; the supervisor itself must live.
		_ = guard.Try(func() error { e.deps.Watcher.Restarted(err); return nil })
		if time.Since(began) > e.cfg.Retry.Max {
			policy.Reset()
		}
		// A loop that panics at once must not take a whole CPU.
		pause := time.NewTimer(policy.NextBackOff())
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// loop takes one message after the other until ctx ends. What a message changes is written before a Watcher is told, so
// that a panic there leaves a state to go on from.
func (e *Engine[T, D]) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	versions, catchUps, beacons := e.deps.Versions, e.deps.CatchUps, e.deps.Beacons
	for {
		// gofail: var refreshLoop struct{}
		now := time.Now()
		next := e.due(now)
		timer.Reset(earlier(next, e.judge(now)).Sub(now))
		select {
		case <-ctx.Done():
			return
		case rec, ok := <-versions:
			if !ok {
				versions = nil
				continue
			}
			e.announced(rec)
		case reason, ok := <-catchUps:
			if !ok {
				catchUps = nil
				continue
			}
			e.wantCatchUp(reason)
		case heard, ok := <-beacons:
			if !ok {
				beacons = nil
				continue
			}
			e.onHeard(heard)
		case m := <-e.messages:
			switch {
			case m.loaded != nil:
				e.onLoaded(m.loaded)
			case m.finished != nil:
				e.onFinished(m.finished)
			case m.logged != nil:
				e.onLogged(m.logged)
			case m.inquired != nil:
				e.onInquired(m.inquired)
			case m.returned != nil:
				e.onReturned(m.returned)
			case m.done != nil:
				e.onFinishedVersion(m.done)
			case m.idles != nil:
				e.lend(m.idles)
			case m.resumes != nil:
				e.onResumes(m.resumes)
			}
		case <-e.deps.StoredAgain:
			e.lookAgain()
		case <-timer.C:
		}
	}
}

// due starts what is due and returns when something else will be.
func (e *Engine[T, D]) due(now time.Time) time.Time {
	next := e.takeLater(now, now.Add(time.Hour))
	for _, name := range e.cfg.Datasets {
		s := e.sets[name]
		switch {
		case s.running || s.queued || s.blocked || s.target.Version <= s.version() && s.move == nil || s.hangs():
		case s.retryAt.After(now):
			next = earlier(next, s.retryAt)
		default:
			if until := e.finisher.wait(s, now); !until.IsZero() {
				next = earlier(next, until)
				continue
			}
			e.enqueue(s)
		}
	}
	e.needless()
	if c := &e.catchUp; !c.running && c.reason != "" {
		if c.retryAt.After(now) {
			next = earlier(next, c.retryAt)
		} else {
			e.ask()
		}
	}
	next = e.startInquiries(now, next)
	e.dispatch(now)
	if at := e.longest(now); len(e.queue) > 0 && at.After(now) {
		next = earlier(next, at)
	}
	if at := e.hanging(now); len(e.queue) > 0 && !at.IsZero() {
		next = earlier(next, at)
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// announced takes note of a version.
func (e *Engine[T, D]) announced(rec dataset.VersionRecord) {
	s := e.sets[rec.Dataset]
	switch {
	case s == nil:
		return
	case e.ofOther(rec):
		e.foreign(s, rec.StoreID, "events")
		return
	case s.blocked && rec.Version == s.target.Version && rec.VersionID() != s.target.VersionID():
		e.verify(s, fmt.Sprintf("an event names version %s, and the quarantined one is %s", rec.Ref(), s.target.Ref()))
		return
	case rec.Version <= s.target.Version || rec.Version <= s.version():
		return
	case len(s.disowned) > 0 && slices.Contains(s.disowned, rec.VersionID()):
		return
	case s.health.Load().Conflict != "" && s.version() > 0:
		return // two publishers contradict each other: the instance stays where it is
	case !s.follows(rec):
		e.verify(s, fmt.Sprintf("the event of version %s does not lead on from the served version", rec.ID()))
		return
	}
	e.announce(s, rec)
}

// announce makes rec the version that the dataset is brought to, unless a later one is.
func (e *Engine[T, D]) announce(s *set[T, D], rec dataset.VersionRecord) {
	if rec.Version <= s.target.Version || rec.Version <= s.version() {
		return
	}
	s.move = nil
	s.aim(rec)
	if s.blocked {
		s.forgive()
	}
	s.learn(rec.Version)
	if !s.running && rec.Version > s.tried {
		e.supersede(s)
	}
}

// supersede ends the backoff of a failed version because there is a newer one. It leaves a pause of one initial
// interval after the failure, so that the rate of attempts does not follow the rate of publishing while the relays
// are down.
func (e *Engine[T, D]) supersede(s *set[T, D]) {
	s.backoff.Reset()
	if soon := s.failedAt.Add(e.cfg.Retry.Initial); !s.failedAt.IsZero() && soon.Before(s.retryAt) {
		s.retryAt = soon
	}
}

func (e *Engine[T, D]) enqueue(s *set[T, D]) {
	s.queued, s.queuedAt = true, time.Now()
	e.queue = append(e.queue, s)
}
