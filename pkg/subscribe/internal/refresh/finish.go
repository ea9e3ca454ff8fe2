package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
)

const (
	// maxUnfinished is how many pending Finish calls of a dataset delay its next refresh, so that finishing keeps pace with
	// refreshing.
	maxUnfinished = 3
	// finishWait bounds that delay: a slow disk must not hold up refreshes.
	finishWait = time.Second
	// finishGrace is how long all remaining Finish calls together may take after the engine's end.
	finishGrace = 10 * time.Second
)

// finisher calls the Finish functions of loaded versions on up to Config.Lanes goroutines, at most one call for each dataset at a time.
type finisher[T, D any] struct {
	e       *Engine[T, D]
	ctx     context.Context // ends finishGrace after that of Run
	workers sync.WaitGroup

	mu      sync.Mutex            // guards the following fields and the finishing of all datasets
	running int                   // goroutines
	ready   []*datasetState[T, D] // datasets that wait for a goroutine
}

// finishQueue holds the pending Finish calls of one dataset, the oldest first. The first may be running.
type finishQueue struct {
	tasks  []finishTask
	active bool      // a goroutine has the dataset, or the dataset is in finisher.ready
	since  time.Time // when the first task began to wait
	// abandon is the Abandon of the last version whose Finish was abandoned and may still run; nil for none.
	abandon func()
}

// finishTask is a pending Finish call.
type finishTask struct {
	ref     dataset.Ref
	swapped bool
	finish  func(swapped bool) error
	abandon func() // nil for none
}

// finishDone is a message: a Finish call has ended, or was abandoned because it hangs.
type finishDone[T, D any] struct {
	dataset *datasetState[T, D]
	task    finishTask
	err     error
	late    bool // the call ended after it was abandoned
}

// add queues a Finish call.
func (f *finisher[T, D]) add(s *datasetState[T, D], t finishTask) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(s.finishing.tasks) == 0 {
		s.finishing.since = time.Now()
	}
	s.finishing.tasks = append(s.finishing.tasks, t)
	if s.finishing.active {
		return
	}
	s.finishing.active = true
	if f.running == f.e.cfg.Lanes {
		f.ready = append(f.ready, s)
		return
	}
	f.running++
	f.workers.Go(func() { f.run(s) })
}

// run runs the pending calls of s and then of the datasets in ready, one call for each dataset in turn.
func (f *finisher[T, D]) run(s *datasetState[T, D]) {
	for s != nil {
		f.mu.Lock()
		t := s.finishing.tasks[0]
		f.mu.Unlock()
		done := f.finish(s, t)
		s = f.next(s)
		f.e.send(message[T, D]{finishDone: done})
	}
}

// next removes the first task of s, which has ended, and returns the dataset whose task is next; nil if there is none, which ends the
// goroutine.
func (f *finisher[T, D]) next(s *datasetState[T, D]) (next *datasetState[T, D]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.finishing.tasks, s.finishing.since = s.finishing.tasks[1:], time.Now()
	if len(s.finishing.tasks) == 0 {
		s.finishing = finishQueue{abandon: s.finishing.abandon}
	} else {
		f.ready = append(f.ready, s)
	}
	if len(f.ready) == 0 {
		f.running--
		return nil
	}
	next, f.ready = f.ready[0], f.ready[1:]
	return next
}

// finish runs the call. It abandons a call that takes longer than Config.Stall, so that the next one can run. After finishGrace, calls
// report swapped as false and are abandoned at once. They keep their order even then, because the deltas of a version extend
// the version before it.
func (f *finisher[T, D]) finish(s *datasetState[T, D], t finishTask) *finishDone[T, D] {
	overdue, stop := context.WithTimeout(f.ctx, f.e.cfg.Stall)
	defer stop()
	swapped := t.swapped && f.ctx.Err() == nil
	if swapped {
		f.abandon(s, nil) // an earlier call that still runs must not undo what this one does
	}
	err := runOrAbandon(overdue.Done(), 0, func() error { return t.finish(swapped) }, func() {
		f.e.send(message[T, D]{finishDone: &finishDone[T, D]{dataset: s, task: t, late: true}})
	})
	if errors.Is(err, ErrAbandoned) {
		f.abandon(s, t.abandon)
		err = fmt.Errorf("%w: the work after the swap takes longer than %s", err, f.e.cfg.Stall)
	}
	return &finishDone[T, D]{dataset: s, task: t, err: err}
}

// abandon calls the Abandon of the last abandoned version of s, and stores next as the one to call later.
func (f *finisher[T, D]) abandon(s *datasetState[T, D], next func()) {
	f.mu.Lock()
	last := s.finishing.abandon
	s.finishing.abandon = next
	f.mu.Unlock()
	if last != nil {
		last()
	}
}

// waitUntil returns until when the dataset's next refresh waits for pending Finish calls; zero if it does not wait.
func (f *finisher[T, D]) waitUntil(s *datasetState[T, D], now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until := s.finishing.since.Add(finishWait); len(s.finishing.tasks) >= maxUnfinished && until.After(now) {
		return until
	}
	return time.Time{}
}

// onFinishDone records the result of a Finish call. A late success counts if its version is still served.
func (e *Engine[T, D]) onFinishDone(m *finishDone[T, D]) {
	s := m.dataset
	if m.late {
		served := s.served.Load()
		if m.task.swapped && s.health.Load().FinishErr != nil && served != nil && m.task.ref == served.Ref() {
			s.updateHealth(func(h *Health) { h.FinishErr = nil })
			e.deps.Watcher.Finished(s.name, nil)
		}
		return
	}
	if m.err != nil || s.health.Load().FinishErr != nil {
		s.updateHealth(func(h *Health) { h.FinishErr = m.err })
		e.deps.Watcher.Finished(s.name, m.err)
	}
}
