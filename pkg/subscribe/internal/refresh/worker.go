package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// job is one refresh: load the stored version, or load rec, or load served again.
type job[T, D any] struct {
	dataset  *datasetState[T, D]
	stored   bool
	rec      dataset.VersionRecord
	served   *Served[T]
	replaces bool       // rec replaces a served version that is not in the store's history, or that is not the pinned one
	pinned   bool       // rec is the pinned version
	replay   *replaying // served is loaded again; nil for another job
	flight   *flight[T, D]
}

// ref returns the version of the job; zero for the stored version.
func (j job[T, D]) ref() dataset.Ref {
	if j.stored {
		return dataset.Ref{}
	}
	return j.rec.Ref()
}

// loadedJob is a message: the worker has loaded version. The loop sets swapped and then closes answered.
type loadedJob[T, D any] struct {
	dataset  *datasetState[T, D]
	stored   bool
	replaces bool
	pinned   bool
	replay   *replaying
	version  Loaded[T, D]
	duration time.Duration
	swapped  bool
	answered chan struct{}
}

// jobDone is a message: the worker is idle again.
type jobDone[T, D any] struct {
	job       job[T, D] // without the served version
	err       error     // why no version was loaded
	duration  time.Duration
	abandoned bool // the job's goroutine hangs
}

// work does jobs until ctx ends. There is one worker for each flight, so a job never waits for one.
func (e *Engine[T, D]) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-e.jobs:
			if !e.sendUntil(ctx, message[T, D]{jobDone: e.do(ctx, j)}) {
				return
			}
		}
	}
}

// do loads a version, has the loop swap it in, and hands its Finish to the finisher.
func (e *Engine[T, D]) do(ctx context.Context, j job[T, D]) *jobDone[T, D] {
	begin := time.Now()
	done := &jobDone[T, D]{job: job[T, D]{dataset: j.dataset, stored: j.stored, rec: j.rec, replaces: j.replaces, replay: j.replay, flight: j.flight}}
	version, err := e.load(j)
	done.duration = time.Since(begin)
	if err != nil {
		done.err, done.abandoned = err, errors.Is(err, ErrAbandoned)
		return done
	}
	// Finish may run the garbage collector, so the worker must not hold the previous version any longer.
	j.served = nil
	m := &loadedJob[T, D]{
		dataset: j.dataset, stored: j.stored, replaces: j.replaces, pinned: j.pinned, replay: j.replay, version: version, duration: done.duration,
		answered: make(chan struct{}),
	}
	swapped := e.offer(ctx, m)
	if version.Kept != nil || version.NoValue {
		return done // a Finish would end the failure of the one before
	}
	if swapped && version.Swapped != nil {
		_ = try(version.Swapped) // Finish returns its errors
	}
	finish := version.Finish
	if finish == nil {
		finish = func(bool) error { return nil }
	}
	e.finisher.add(j.dataset, finishTask{version.ref(), swapped, finish, version.Abandon})
	return done
}

// offer sends m to the loop and reports whether the loop swapped the version in. After the end of ctx, the loop may still swap until it
// ends, so offer waits for that: a version that readers saw is finished as swapped.
func (e *Engine[T, D]) offer(ctx context.Context, m *loadedJob[T, D]) bool {
	if !e.sendUntil(ctx, message[T, D]{loaded: m}) {
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

// load calls the Loader. Each progress resets two timers: one yields the lane after yieldAfter, the other cancels the call after
// Config.Stall. A call that does not end after it was cancelled is abandoned.
func (e *Engine[T, D]) load(j job[T, D]) (Loaded[T, D], error) {
	ctx, cancel := j.flight.ctx, j.flight.cancel
	defer cancel(nil)
	watchdog := time.AfterFunc(e.cfg.Stall, func() { cancel(fmt.Errorf("%w for %s", ErrStalled, e.cfg.Stall)) })
	defer watchdog.Stop()
	yield := time.AfterFunc(yieldAfter, func() { e.send(message[T, D]{yields: j.flight}) })
	defer yield.Stop()
	progress := func() {
		if ctx.Err() != nil {
			return
		}
		if j.flight.yielded.Load() {
			watchdog.Stop() // waiting for a lane is no stall
			e.resume(ctx, j.flight)
		}
		watchdog.Reset(e.cfg.Stall)
		yield.Reset(yieldAfter)
	}

	var version Loaded[T, D]
	err := runOrAbandon(ctx.Done(), e.grace(), func() (err error) {
		switch {
		case j.stored:
			version, err = e.deps.Loader.Stored(ctx, j.dataset.name, progress)
		case j.replay != nil:
			version, err = e.deps.Loader.Reload(ctx, j.served, j.replay.From, progress)
		default:
			version, err = e.deps.Loader.Load(ctx, j.rec, j.served, progress)
		}
		return err
	}, func() {
		if version.Finish != nil {
			_ = guard.Try(func() error { return version.Finish(false) }) // the job has already failed
		}
		e.send(message[T, D]{returned: &j})
	})
	if errors.Is(err, ErrAbandoned) {
		// The abandoned goroutine may still write version.
		return Loaded[T, D]{}, fmt.Errorf("%w: %v, and it did not end within %s after that", err, context.Cause(ctx), e.grace())
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, ErrStalled) && !errors.Is(err, ErrStalled) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return version, err
}
