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
	// maxUnfinished is how many versions of a dataset may wait to be finished before its next refresh waits for them, so that what
	// finishes follows what is refreshed.
	maxUnfinished = 3
	// finishWait is how long a refresh waits for that: a disk that is slower must not delay it.
	finishWait = time.Second
	// finishGrace is how long versions are finished yet, all together, after the engine's end.
	finishGrace = 10 * time.Second
)

// finisher calls the Finish functions of versions beside the lanes. One dataset has one call under way at most.
type finisher[T, D any] struct {
	e       *Engine[T, D]
	ctx     context.Context // ends finishGrace after that of Run
	workers sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the unfinished of all sets
	running int        // goroutines
	ready   []*set[T, D]
}

// unfinished is what is left to be done after refreshes of one dataset, the oldest first; the first may be under way.
type unfinished struct {
	all    []unfinishedVersion
	active bool      // a goroutine has the dataset, or the dataset is in finisher.ready
	since  time.Time // when the first began to wait
	// abandon is that of the last version whose Finish was given up and may go on; nil for none.
	abandon func()
}

type unfinishedVersion struct {
	ref     dataset.Ref
	swapped bool
	finish  func(swapped bool) error
	abandon func() // nil for nothing
}

// finishedVersion says that a Finish has ended, or was abandoned because it hangs.
type finishedVersion[T, D any] struct {
	set     *set[T, D]
	version unfinishedVersion
	err     error
	lost    bool
	late    bool // it ended after it had been abandoned
}

// add hands over what is left to be done after a refresh.
func (f *finisher[T, D]) add(s *set[T, D], v unfinishedVersion) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(s.unfinished.all) == 0 {
		s.unfinished.since = time.Now()
	}
	s.unfinished.all = append(s.unfinished.all, v)
	if s.unfinished.active {
		return
	}
	s.unfinished.active = true
	if f.running == f.e.cfg.Lanes {
		f.ready = append(f.ready, s)
		return
	}
	f.running++
	f.workers.Go(func() { f.run(s) })
}

// run finishes what is left of s, and then of other datasets, until nothing is.
func (f *finisher[T, D]) run(s *set[T, D]) {
	for s != nil {
		f.mu.Lock()
		v := s.unfinished.all[0]
		f.mu.Unlock()
		done := f.finish(s, v)
		f.mu.Lock()
		s.unfinished.all, s.unfinished.since = s.unfinished.all[1:], time.Now()
		next := s
		if len(s.unfinished.all) == 0 {
			s.unfinished = unfinished{abandon: s.unfinished.abandon}
			next = nil
		}
		if next != nil && len(f.ready) > 0 {
			f.ready, next = append(f.ready[1:], next), f.ready[0]
		} else if next == nil && len(f.ready) > 0 {
			f.ready, next = f.ready[1:], f.ready[0]
		}
		if next == nil {
			f.running--
		}
		f.mu.Unlock()
		f.e.tell(message[T, D]{done: done})
		s = next
	}
}

// finish gives v no more time than a refresh may go without progress: a call that hangs must not keep the next from being made. Once
// the time after the engine's end has passed, v is given up at once. Versions are finished in their order also then, because the deltas
// of one lead on from the one before.
func (f *finisher[T, D]) finish(s *set[T, D], v unfinishedVersion) *finishedVersion[T, D] {
	overdue, stop := context.WithTimeout(f.ctx, f.e.cfg.Stall)
	defer stop()
	swapped := v.swapped && f.ctx.Err() == nil
	if swapped {
		f.abandon(s, nil) // what an earlier call does yet must not undo what this one does
	}
	err := attempt(overdue.Done(), 0, func() error { return v.finish(swapped) }, func() {
		f.e.tell(message[T, D]{done: &finishedVersion[T, D]{set: s, version: v, late: true}})
	})
	lost := errors.Is(err, ErrLost)
	if lost {
		f.abandon(s, v.abandon)
		err = fmt.Errorf("%w: what remains to be done after the swap takes longer than %s", err, f.e.cfg.Stall)
	}
	return &finishedVersion[T, D]{set: s, version: v, err: err, lost: lost}
}

// abandon abandons the last version of s whose Finish was given up. The next one to be abandoned is of the function next.
func (f *finisher[T, D]) abandon(s *set[T, D], next func()) {
	f.mu.Lock()
	last := s.unfinished.abandon
	s.unfinished.abandon = next
	f.mu.Unlock()
	if last != nil {
		last()
	}
}

// wait returns until when the dataset's next refresh waits for what is left to be done; zero if it does not.
func (f *finisher[T, D]) wait(s *set[T, D], now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until := s.unfinished.since.Add(finishWait); len(s.unfinished.all) >= maxUnfinished && until.After(now) {
		return until
	}
	return time.Time{}
}

// onFinishedVersion records how a version was finished.
func (e *Engine[T, D]) onFinishedVersion(m *finishedVersion[T, D]) {
	s := m.set
	if m.late {
		served := s.served.Load()
		if m.version.swapped && s.health.Load().FinishErr != nil && served != nil && m.version.ref == served.Ref() {
			s.update(func(h *Health) { h.FinishErr = nil })
			e.deps.Watcher.Finished(s.name, nil)
		}
		return
	}
	if m.err != nil || s.health.Load().FinishErr != nil {
		s.update(func(h *Health) { h.FinishErr = m.err })
		e.deps.Watcher.Finished(s.name, m.err)
	}
}
