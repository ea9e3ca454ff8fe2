package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// job is what a lane is to do: bring up the stored version, or load rec.
type job[T, D any] struct {
	set    *set[T, D]
	stored bool
	rec    dataset.VersionRecord
	served *Served[T]
}

// loaded says that a version can be swapped in. The loop sets swapped and then closes answered.
type loaded[T, D any] struct {
	set      *set[T, D]
	stored   bool
	version  Loaded[T, D]
	duration time.Duration
	swapped  bool
	answered chan struct{}
}

// finished says that the lane is idle again.
type finished[T, D any] struct {
	set       *set[T, D]
	stored    bool
	rec       dataset.VersionRecord
	err       error // why nothing was loaded
	finishErr error // why Finish failed, when something was
	duration  time.Duration
}

func (e *Engine[T, D]) lane(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-e.jobs:
			done := e.work(ctx, j)
			select {
			case e.messages <- message[T, D]{finished: done}:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (e *Engine[T, D]) work(ctx context.Context, j job[T, D]) *finished[T, D] {
	begin := time.Now()
	done := &finished[T, D]{set: j.set, stored: j.stored, rec: j.rec}
	version, err := e.load(ctx, j)
	done.duration = time.Since(begin)
	if err != nil {
		done.err = err
		return done
	}
	// Finish may collect garbage: the version before must be nothing but garbage by then.
	j.served = nil
	m := &loaded[T, D]{
		set: j.set, stored: j.stored, version: version, duration: done.duration, answered: make(chan struct{}),
	}
	swapped := e.offer(ctx, m)
	if version.Finish != nil {
		done.finishErr = guard.Try(func() error { return version.Finish(swapped) })
	}
	return done
}

// offer hands m to the loop and reports whether it swapped. The end of ctx does not settle that, but the loop's does:
// a version that was seen to be served is finished as such.
func (e *Engine[T, D]) offer(ctx context.Context, m *loaded[T, D]) bool {
	select {
	case e.messages <- message[T, D]{loaded: m}:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.answered:
	case <-e.ended:
		select {
		case <-m.answered:
		default:
			return false
		}
	}
	return m.swapped
}

// load does the job under the watch of a timer that every step of progress sets back.
func (e *Engine[T, D]) load(ctx context.Context, j job[T, D]) (Loaded[T, D], error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(e.cfg.Stall, func() { cancel(ErrStalled) })
	defer watchdog.Stop()
	progress := func() { watchdog.Reset(e.cfg.Stall) }

	var version Loaded[T, D]
	err := guard.Try(func() (err error) {
		if j.stored {
			version, err = e.deps.Loader.Stored(ctx, j.set.name, progress)
		} else {
			version, err = e.deps.Loader.Load(ctx, j.rec, j.served, progress)
		}
		return err
	})
	if err != nil && errors.Is(context.Cause(ctx), ErrStalled) && !errors.Is(err, ErrStalled) {
		err = fmt.Errorf("%w for %s: %w", ErrStalled, e.cfg.Stall, err)
	}
	return version, err
}

// onLoaded swaps.
func (e *Engine[T, D]) onLoaded(m *loaded[T, D]) {
	defer close(m.answered)
	s := m.set
	before := s.served.Load()
	if before != nil && m.version.Record.Version <= before.Record.Version {
		return
	}
	now := &Served[T]{
		Record: m.version.Record, Value: m.version.Value, Stored: m.stored, At: time.Now(),
		Pull: m.version.Pull, Duration: m.duration,
	}
	s.served.Store(now)
	m.swapped = true
	if before == nil {
		close(s.first)
	}
	s.backoff.Reset()
	s.failedAt, s.retryAt = time.Time{}, time.Time{}
	s.update(func(h *Health) {
		h.Newest = max(h.Newest, now.Record.Version)
		h.Err, h.Failures, h.FailingSince = nil, 0, time.Time{}
	})
	e.deps.Watcher.Swapped(before, now, m.version.Difference)
}

// onFinished takes the lane back, and after a failure sets when to try again.
func (e *Engine[T, D]) onFinished(m *finished[T, D]) {
	s := m.set
	e.idle++
	s.running = false
	s.update(func(h *Health) { h.Refreshing = false })
	switch {
	case m.err != nil && m.stored:
		if !errors.Is(m.err, ErrNone) {
			e.deps.Watcher.StoredUnusable(s.name, m.err)
		}
	case m.err != nil:
		e.failed(m)
	case m.finishErr != nil || s.health.Load().FinishErr != nil:
		s.update(func(h *Health) { h.FinishErr = m.finishErr })
		e.deps.Watcher.Finished(s.name, m.finishErr)
	}
}

func (e *Engine[T, D]) failed(m *finished[T, D]) {
	s, now := m.set, time.Now()
	pause := s.backoff.NextBackOff()
	// A relay that is out of its depth says for how long; no relay may keep an instance stale for longer than Max.
	if asked := (interface{ RetryAfter() time.Duration })(nil); errors.As(m.err, &asked) {
		pause = max(pause, min(asked.RetryAfter(), e.cfg.Retry.Max))
	}
	s.failedAt, s.retryAt = now, now.Add(pause)
	if s.target.Version > m.rec.Version {
		e.supersede(s)
	}
	var failures int
	s.update(func(h *Health) {
		if h.Failures == 0 {
			h.FailingSince = now
		}
		h.Failures++
		h.Err, failures = m.err, h.Failures
	})
	e.deps.Watcher.Failed(Failure{
		Record: m.rec, Err: m.err, Attempt: failures, Duration: m.duration, Retry: s.retryAt,
	})
}
