package subscribe

import (
	"sync"
	"time"
)

// turnRecords is after how many records a turn is said to make progress.
const turnRecords = 256

// turn is the right to decode for an eager view. There are as many as lanes: each decoder is bound by the CPU, and has two
// versions of its values in memory meanwhile.
//
// It ends by itself when it makes no progress: a decode function that hangs must not keep other views from theirs. What
// hangs goes on hanging, as a warning of the dataset says.
type turn struct {
	stall    time.Duration
	watchdog *time.Timer
	release  func()
}

// turn waits for a turn; ok is false if the subscriber is closed.
func (s *Subscriber) turn() (t *turn, ok bool) {
	select {
	case s.decoding <- struct{}{}:
	case <-s.ctx.Done():
		return nil, false
	}
	t = &turn{stall: s.cfg.StallTimeout, release: sync.OnceFunc(func() { <-s.decoding })}
	t.watchdog = time.AfterFunc(t.stall, t.release)
	return t, true
}

func (t *turn) progress() { t.watchdog.Reset(t.stall) }

func (t *turn) end() {
	t.watchdog.Stop()
	t.release()
}
