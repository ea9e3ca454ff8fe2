package subscribe

import (
	"fmt"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/guard"
	"freshet.dev/pkg/table"
)

// Swap tells of a new version being served.
type Swap struct {
	Dataset string
	// Record is that of the new version.
	Record dataset.VersionRecord
	// Old is the New of the Swap before; nil in the first.
	Old, New *table.Table
	// Full is true if New was loaded as a whole, or if versions between Old and New were passed over: then there is
	// no telling what changed but by comparing the two.
	Full bool
}

// callback is a function given to OnSwap, with the goroutine that calls it.
type callback struct {
	dataset string
	call    func(Swap)
	wake    chan struct{}         // has room for one: there is something new
	failed  atomic.Pointer[error] // of the last call; nil if it succeeded
}

// OnSwap has f called after each swap of the dataset, and at once if a version is served already.
//
// Every f has a goroutine of its own, so it may take its time: neither refreshes nor other callbacks wait for it. Its
// calls come one at a time, in the order of versions, each Old being the New of the call before. Versions that come
// while f runs are passed over but for the newest. If f panics, it is called again with the same Old, with backoff
// and jitter as after a failed refresh, or as soon as a newer version is served; the log, the status and the Observer
// are told. A call holds on to both its tables, and f must not call Close.
//
// It fails with [ErrUnknown] or [ErrClosed].
func (s *Subscriber) OnSwap(name string, f func(Swap)) error {
	if s.engine.First(name) == nil {
		return fmt.Errorf("register a callback for %q: %w", name, ErrUnknown)
	}
	c := &callback{dataset: name, call: f, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return fmt.Errorf("register a callback for %s: %w", name, ErrClosed)
	}
	s.callbacks[name] = append(s.callbacks[name], c)
	s.running.Go(func() { s.serve(c) })
	return nil
}

// wake tells the dataset's callbacks that there is a new version.
func (s *Subscriber) wake(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callbacks[name] {
		select {
		case c.wake <- struct{}{}:
		default: // it will look at what is newest then
		}
	}
}

// serve calls c whenever what is served is not what its last call was told.
func (s *Subscriber) serve(c *callback) {
	var told *served
	pauses := s.backoff()
	for {
		now := s.engine.Served(c.dataset)
		if now == told {
			select {
			case <-c.wake:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		if s.ctx.Err() != nil {
			return
		}
		swap := Swap{Dataset: c.dataset, Record: now.Record, New: now.Value, Full: true}
		if told != nil {
			swap.Old = told.Value
		}
		err := guard.Try(func() error { c.call(swap); return nil })
		if err == nil {
			told = now
			c.failed.Store(nil)
			pauses.Reset()
			continue
		}
		err = fmt.Errorf("call back for version %s: %w", now.Record.ID(), err)
		c.failed.Store(&err)
		pause := pauses.NextBackOff()
		s.cfg.Log.Error("a function given to OnSwap panicked and will be called again", "dataset", c.dataset, "version", now.Record.Version,
			"error", err, "retry_in", pause, "stack", guard.Stack(err))
		if f := s.cfg.Observer.CallbackFailed; f != nil {
			s.observe(func() { f(c.dataset, err) })
		}
		if !s.pause(pause, c.wake) {
			return
		}
	}
}
