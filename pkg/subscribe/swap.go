package subscribe

import (
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

// Swap tells of a new version being served.
type Swap struct {
	Dataset string
	// Record is that of the new version, and ID its id. A version that was recovered from a damaged cache folder has the id
	// that it was committed with, or none, and a Record without labels, times and counts of changes.
	Record dataset.VersionRecord
	ID     dataset.VersionID
	// Old is the New of the Swap before; nil in the first.
	Old, New *table.Table
	// Full is false if New was made from Old by deltas, so that Changes costs what they changed. It is true if there
	// was a full load between the two; then Changes compares the tables.
	Full bool

	changes *table.Changes // nil if Full
}

// Changes returns an iterator over the records that differ between Old and New, each once and in the order of (hash,
// key). In the first Swap all are Added. It may be used more than once, and after the call, but holds on to both tables.
//
// Keys and values alias the tables' memory: they must not be modified, and each keeps alive the slab that it lies in.
func (s Swap) Changes() iter.Seq[snapshot.Change] {
	switch {
	case s.changes != nil:
		return s.changes.All()
	case s.Old != nil:
		return table.Diff(s.Old, s.New)
	}
	return func(yield func(snapshot.Change) bool) {
		for key, value := range s.New.All() {
			if !yield(snapshot.Change{Op: snapshot.Added, Key: key, New: value}) {
				return
			}
		}
	}
}

// callback is a function given to OnSwap, with the goroutine that calls it.
type callback struct {
	dataset string
	what    string // in words
	call    func(Swap)
	wake    chan struct{}             // has room for one: there is something new
	failed  atomic.Pointer[error]     // of the last call; nil if it succeeded
	began   atomic.Pointer[time.Time] // when the call under way began; nil if none is
	// unread returns what an eager view could not decode; nil if this is none.
	unread func() error

	// What follows is guarded by Subscriber.mu.
	newest *served   // the last that it was woken for
	ahead  *leg      // to newest, from what was taken last; nil if that is newest
	behind time.Time // when the first version was swapped in that no call has come to its end for; zero if there is none
}

// trouble returns what wants looking after; nil if nothing does. A call may take its time, but one that takes longer than
// patience may not end at all, and who relies on the callback is then left behind.
func (c *callback) trouble(patience time.Duration) error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	if began := c.began.Load(); began != nil {
		if d := time.Since(*began); d > patience {
			return fmt.Errorf("%s has not come to its end for %s, and does not go on to newer versions meanwhile", c.what, d.Round(time.Second))
		}
	}
	if c.unread != nil {
		return c.unread()
	}
	return nil
}

// OnSwap has f called after each swap of the dataset, and at once if a version is served already.
//
// Every f has a goroutine of its own, so it may take its time: neither refreshes nor other callbacks wait for it. Its
// calls come one at a time, in the order of versions, each Old being the New of the call before. Versions that come
// while f runs are passed over but for the newest, and [Swap.Changes] then tells of all of them together. If f panics,
// it is called again with the same Old, with backoff and jitter as after a failed refresh, or as soon as a newer
// version is served; the log, the status and the Observer are told. A call holds on to both its tables, and f must not
// call Close.
//
// It fails with [ErrUnknown] or [ErrClosed].
func (s *Subscriber) OnSwap(name string, f func(Swap)) error {
	return s.register(&callback{dataset: name, what: "a function given to OnSwap", call: f})
}

func (s *Subscriber) register(c *callback) error {
	name := c.dataset
	if s.engine.First(name) == nil {
		return fmt.Errorf("register a callback for %q: %w", name, ErrUnknown)
	}
	c.wake = make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return fmt.Errorf("register a callback for %s: %w", name, ErrClosed)
	}
	if c.newest = s.engine.Served(name); c.newest != nil {
		c.ahead, c.behind = &leg{to: c.newest}, time.Now()
	}
	s.callbacks[name] = append(s.callbacks[name], c)
	s.running.Go(func() { s.serve(c) })
	return nil
}

// wake tells the dataset's callbacks of a new version, which changes lead to from the one before; nil if it was loaded
// as a whole.
func (s *Subscriber) wake(now *served, changes *table.Changes) {
	next := &leg{to: now, changes: changes, bytes: now.Pull.Bytes}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.callbacks[now.Record.Dataset] {
		if c.newest == now {
			continue // it was registered between the swap and now
		}
		c.newest, c.ahead = now, c.ahead.then(next)
		if c.behind.IsZero() {
			c.behind = now.At
		}
		select {
		case c.wake <- struct{}{}:
		default: // it will take what is ahead then
		}
	}
}

// take returns what is ahead of c since the last call; nil if nothing is.
func (s *Subscriber) take(c *callback) *leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := c.ahead
	c.ahead = nil
	return ahead
}

// follows takes note that a call has come to its end.
func (s *Subscriber) follows(c *callback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.behind = time.Time{}
	if c.ahead != nil {
		c.behind = time.Now() // it was behind by this version for no longer than the call took
	}
}

// serve calls c whenever there is something ahead of it.
func (s *Subscriber) serve(c *callback) {
	var told *table.Table
	var ahead *leg
	pauses := s.backoff()
	for {
		ahead = ahead.then(s.take(c))
		if s.ctx.Err() != nil {
			return
		}
		if ahead == nil {
			select {
			case <-c.wake:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		now := ahead.to
		swap := Swap{Dataset: c.dataset, Record: now.Record, ID: now.ID, Old: told, New: now.Value, Full: true}
		if ahead.changes != nil && ahead.changes.Old() == told {
			swap.Full, swap.changes = false, ahead.changes
		}
		began := time.Now()
		c.began.Store(&began)
		err := guard.Try(func() error { c.call(swap); return nil })
		c.began.Store(nil)
		if err == nil {
			told, ahead = now.Value, nil
			s.follows(c)
			c.failed.Store(nil)
			pauses.Reset()
			continue
		}
		err = fmt.Errorf("call back for version %s: %w", now.Record.ID(), err)
		c.failed.Store(&err)
		pause := pauses.NextBackOff()
		s.cfg.Log.Error("a function given to OnSwap panicked and will be called again", "dataset", c.dataset, "version", now.Record.Version,
			"error", err, "retry_in", pause, "stack", guard.Stack(err))
		s.reportFailure(c.dataset, now.Record.Version, err)
		if f := s.cfg.Observer.CallbackFailed; f != nil {
			s.observe(c.dataset, now.Record.Version, func() { f(c.dataset, err) })
		}
		if !s.pause(pause, c.wake) {
			return
		}
	}
}
