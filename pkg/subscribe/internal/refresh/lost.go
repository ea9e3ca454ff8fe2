package refresh

import (
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/internal/guard"
)

const (
	// maxLost is how many goroutines may hang at one dataset's versions. Beyond that the dataset waits for one of them to
	// return: something is wrong that more goroutines do not mend.
	maxLost = 4
	// longestGrace is how long a refresh that was cancelled may take to end. What heeds its context does so between two
	// blocks, which is milliseconds.
	longestGrace = 5 * time.Second
)

// grace returns how long a refresh that was cancelled may take to end.
func (e *Engine[T, D]) grace() time.Duration { return min(e.cfg.Stall, longestGrace) }

// attempt runs f on a goroutine of its own and returns its error, a panic being one. If f has not returned within grace
// after stop, it gives f up and returns ErrLost: a goroutine cannot be killed, but need not be waited for. When f returns
// after all, late is called on its goroutine.
func attempt(stop <-chan struct{}, grace time.Duration, f func() error, late func()) error {
	var err error
	var settled atomic.Bool // by f's return, or by giving it up
	done := make(chan struct{})
	go func() {
		err = guard.Try(f)
		if settled.CompareAndSwap(false, true) {
			close(done)
			return
		}
		_ = guard.Try(func() error { late(); return nil })
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
		return ErrLost
	}
	<-done
	return err
}

// tell sends m to the loop, unless that has ended.
func (e *Engine[T, D]) tell(m message[T, D]) {
	select {
	case e.messages <- m:
	case <-e.ended:
	}
}

// onReturned takes note that a goroutine hangs no longer. It changes nothing else: what it did has been made up for, or is
// tried again now.
func (e *Engine[T, D]) onReturned(m *returned[T, D]) {
	s := m.job.set
	if i := slices.Index(s.lost, m.job.ref()); i >= 0 {
		s.lost = slices.Delete(s.lost, i, i+1)
	}
}

// hangs reports whether the newest version cannot be tried, because a goroutine hangs at it, or too many do at others.
func (s *set[T, D]) hangs() bool {
	return len(s.lost) >= maxLost || len(s.lost) > 0 && slices.Contains(s.lost, s.target.Ref())
}
