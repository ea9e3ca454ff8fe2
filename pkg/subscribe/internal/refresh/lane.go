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
	move   bool // rec takes the place of a version that is not in the store's history
	flight *flight[T, D]
}

// ref returns the version that the job is at; zero if it is the stored one, whichever that is.
func (j job[T, D]) ref() dataset.Ref {
	if j.stored {
		return dataset.Ref{}
	}
	return j.rec.Ref()
}

// loaded says that a version can be swapped in. The loop sets swapped and then closes answered.
type loaded[T, D any] struct {
	set      *set[T, D]
	stored   bool
	move     bool
	version  Loaded[T, D]
	duration time.Duration
	swapped  bool
	answered chan struct{}
}

// finished says that the lane is idle again.
type finished[T, D any] struct {
	job      job[T, D] // without what was served before
	err      error     // why nothing was loaded
	duration time.Duration
	// lost is true if a goroutine hangs at the job and was given up.
	lost bool
}

// returned says that a goroutine that was given up at the job has returned.
type returned[T, D any] struct {
	job job[T, D]
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
	done := &finished[T, D]{job: job[T, D]{set: j.set, stored: j.stored, rec: j.rec, move: j.move, flight: j.flight}}
	version, err := e.load(ctx, j)
	done.duration = time.Since(begin)
	if err != nil {
		done.err, done.lost = err, errors.Is(err, ErrLost)
		return done
	}
	// Finish may collect garbage: the version before must be nothing but garbage by then.
	j.served = nil
	m := &loaded[T, D]{
		set: j.set, stored: j.stored, move: j.move, version: version, duration: done.duration, answered: make(chan struct{}),
	}
	swapped := e.offer(ctx, m)
	if swapped && version.Swapped != nil {
		_ = guard.Try(func() error { version.Swapped(); return nil }) // Finish says what went wrong
	}
	finish := version.Finish
	if finish == nil {
		finish = func(bool) error { return nil }
	}
	e.finisher.add(j.set, unfinishedVersion{version.ref(), swapped, finish, version.Abandon})
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
	lender := time.AfterFunc(lendAfter, func() { e.tell(message[T, D]{idles: j.flight}) })
	defer lender.Stop()
	progress := func() {
		if ctx.Err() != nil {
			return
		}
		if j.flight.lent.Load() {
			watchdog.Stop()
			e.resume(ctx, j.flight)
		}
		watchdog.Reset(e.cfg.Stall)
		lender.Reset(lendAfter)
	}

	var version Loaded[T, D]
	err := attempt(ctx.Done(), e.grace(), func() (err error) {
		if j.stored {
			version, err = e.deps.Loader.Stored(ctx, j.set.name, progress)
		} else {
			version, err = e.deps.Loader.Load(ctx, j.rec, j.served, progress)
		}
		return err
	}, func() {
		if version.Finish != nil {
			_ = guard.Try(func() error { return version.Finish(false) }) // nobody waits for what it has to say
		}
		e.tell(message[T, D]{returned: &returned[T, D]{job: j}})
	})
	if errors.Is(err, ErrLost) {
		// Whatever it loads yet is not looked at: version is the goroutine's own now.
		return Loaded[T, D]{}, fmt.Errorf("%w: no progress for %s, and none of its goroutine's since", err, e.cfg.Stall)
	}
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
	if before != nil && m.version.Record.Version <= before.Record.Version && !m.move {
		return
	}
	now := &Served[T]{
		Record: m.version.Record, ID: m.version.ID, Value: m.version.Value, Damage: m.version.Damage, Stored: m.stored, At: time.Now(),
		Pull: m.version.Pull, Duration: m.duration,
	}
	if now.ID.IsZero() && now.Damage == nil {
		now.ID = now.Record.VersionID()
	}
	// Before the swap: whoever sees the version served must not see the failure of an attempt before it.
	// What the lane does yet is no refresh: a newer version waits for it.
	s.update(func(h *Health) { h.Err, h.Failures, h.FailingSince, h.Refreshing = nil, 0, time.Time{}, false })
	s.served.Store(now)
	m.swapped = true
	if before == nil {
		close(s.first)
	}
	s.backoff.Reset()
	s.failedAt, s.retryAt = time.Time{}, time.Time{}
	if !m.stored {
		s.verify = false
		if s.move == nil || s.move.Ref() == now.Ref() {
			s.agrees()
		}
	}
	if m.stored && !s.affirmed.IsZero() && s.affirmed != now.ID && s.target.Version <= now.Record.Version {
		s.update(func(h *Health) {
			h.Doubt = fmt.Sprintf("version %s was in the local folder, and the newest version of the store is another", now.Ref())
		})
		e.verify(s, fmt.Sprintf("version %s of the local folder may not be in the store's history", now.Record.ID()))
	}
	if m.stored && e.Store().ID.IsZero() {
		e.updateStore(func(st *Store) { st.ID = now.Record.StoreID })
	}
	if m.stored {
		e.quarantine(s)
	}
	s.tally()
	if now.Damage != nil {
		e.deps.Watcher.StoredUnusable(s.name, now.Damage)
	}
	e.deps.Watcher.Swapped(before, now, m.version.Difference)
}

// onFinished takes the lane back, and after a failure sets when to try again.
func (e *Engine[T, D]) onFinished(m *finished[T, D]) {
	s := m.job.set
	e.land(m.job.flight)
	s.running = false
	e.look(s)
	s.update(func(h *Health) { h.Refreshing = false })
	if m.lost {
		s.lost = append(s.lost, m.job.ref())
	}
	switch {
	case m.err != nil && m.job.stored:
		e.quarantine(s)
		if !errors.Is(m.err, ErrNone) {
			e.deps.Watcher.StoredUnusable(s.name, m.err)
		}
	case m.err != nil:
		e.failed(m)
	}
}

func (e *Engine[T, D]) failed(m *finished[T, D]) {
	s, rec, now := m.job.set, m.job.rec, time.Now()
	pause := s.backoff.NextBackOff()
	// A relay that is out of its depth says for how long; no relay may keep an instance stale for longer than Max.
	if asked := (interface{ RetryAfter() time.Duration })(nil); errors.As(m.err, &asked) {
		pause = max(pause, min(asked.RetryAfter(), e.cfg.Retry.Max))
	}
	s.failedAt, s.retryAt = now, now.Add(pause)
	if s.target.Version > rec.Version {
		e.supersede(s)
	}
	f := Failure{Record: rec, Err: m.err, Duration: m.duration, Retry: s.retryAt}
	if s.hangs() {
		f.Retry = time.Time{}
		if len(s.lost) >= maxLost {
			f.Err = fmt.Errorf("%w; %d goroutines hang at versions of %s, and nothing newer is tried before one of them returns: restart the instance",
				m.err, len(s.lost), s.name)
		}
	}
	s.update(func(h *Health) {
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
		// A version that no beacon names may be in no store: the relays say so, and another event may have taken its place since.

		e.verify(s, fmt.Sprintf("version %s could not be loaded", rec.ID()))
	}
	if s.blocked {
		s.forgive()
	}
	e.deps.Watcher.Failed(f)
}
