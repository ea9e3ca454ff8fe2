package refresh

import (
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/internal/guard"
)

const (
	// maxAbandoned bounds the abandoned goroutines of one dataset that still hang. At the bound, the dataset waits for one of
	// them to return, because more goroutines would hang as well.
	maxAbandoned = 4
	// longestGrace bounds how long a cancelled refresh may take to end. Code that heeds its context ends between two
	// blocks, within milliseconds.
	longestGrace = 5 * time.Second
)

// grace returns how long a cancelled refresh may take to end.
func (e *Engine[T, D]) grace() time.Duration { return min(e.cfg.Stall, longestGrace) }

// runOrAbandon runs f on another goroutine and returns its error; a panic is one. If f has not returned within grace after
// stop, runOrAbandon returns ErrAbandoned without it, because a goroutine cannot be killed. When an abandoned f returns,
// its goroutine calls late.
func runOrAbandon(stop <-chan struct{}, grace time.Duration, f func() error, late func()) error {
	var err error
	var settled atomic.Bool // f has returned, or was abandoned
	done := make(chan struct{})
	go func() {
		err = guard.Try(f)
		if settled.CompareAndSwap(false, true) {
			close(done)
			return
		}
		_ = try(late)
	}()
	select {
	case <-done:
		return err
	case <-stop:
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return err
	case <-timer.C:
	}
	if settled.CompareAndSwap(false, true) {
		return ErrAbandoned
	}
	<-done
	return err
}

// try runs f and returns its panic as an error.
func try(f func()) error {
	return guard.Try(func() error { f(); return nil })
}

// onReturned removes a job whose goroutine has returned after it was abandoned. The result is ignored: a later attempt
// has replaced it, or starts now.
func (e *Engine[T, D]) onReturned(j *job[T, D]) {
	s := j.dataset
	if i := slices.Index(s.abandoned, j.ref()); i >= 0 {
		s.abandoned = slices.Delete(s.abandoned, i, i+1)
	}
}

// goalHangs reports whether the goal cannot be tried, because an abandoned goroutine hangs at it or too many hang at other
// versions.
func (s *datasetState[T, D]) goalHangs() bool {
	return len(s.abandoned) >= maxAbandoned || len(s.abandoned) > 0 && slices.Contains(s.abandoned, s.goal().Ref())
}
