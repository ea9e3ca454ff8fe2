package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
)

var (
	// ErrNoPins is returned by [Pins].Query when no relay knows pins, because all are of earlier releases.
	ErrNoPins = errors.New("no relay knows pins")
	// ErrPinsDamaged is returned by [Pins].Stored when the local copy is damaged. It is then written again.
	ErrPinsDamaged = errors.New("the stored pins are damaged")
)

const (
	// pinsHeadStart is how long refreshes wait for the relays' answer about pins, at the start and after a reconnect. An instance that was
	// not there when its pin was set must not pass the pinned version.
	pinsHeadStart = 2 * time.Second
	// lowerPinsAfter is how long the relays must name older pins than the instance follows until it follows them. A relay may have read the
	// store before the entry was written; a store that was restored keeps naming them.
	lowerPinsAfter = 2 * time.Second
)

// Pins has the pins of datasets, and chooses those of this instance. The engine calls its methods concurrently for different datasets.
type Pins interface {
	// Stored returns the locally stored pins, [ErrNone], [ErrPinsDamaged], or why they could not be read.
	Stored(name string) (dataset.Pins, error)
	// Store stores the pins locally.
	Store(name string, pins dataset.Pins) error
	// Query returns the pins in the store own, or in any if own is zero, as a relay has them. It returns [ErrNoPins] if no relay knows pins.
	Query(ctx context.Context, name string, own dataset.StoreID) (dataset.Pins, error)
	// Of returns the pin that holds for this instance; ok is false if there is none. It must return at once.
	Of(pins dataset.Pins) (pin dataset.Pin, ok bool)
}

// pinState is what the loop knows of a dataset's pins.
type pinState struct {
	list  dataset.Pins // the pins that are followed; zero before any are known
	known bool
	// confirmed is true if a relay has named the pins of list, with the records of the pinned versions.
	confirmed bool
	// held is the pin of this instance; nil if there is none. record is the record of its version; zero if it is not known yet.
	held   *dataset.Pin
	record dataset.VersionRecord
	// refused is why the pin of this instance is not followed; empty if it is, or if there is none.
	refused string

	journal    uint64    // the newest journal entry that the relays had when they answered last
	named      uint64    // the newest journal entry that a beacon named
	regressed  uint64    // the last entry that a beacon named below those; 0 if none did since the last entry
	lower      time.Time // when the relays first named older pins than those of list; zero if they do not
	holdUntil  time.Time // refreshes wait for an answer of the relays until then
	wantsQuery bool
	retryAt    time.Time // when the next query may begin
	backoff    *backoff.Backoff
	err        error // of the last query
	running    bool  // a pinsWork is in flight

	storedRead bool         // the local copy was read
	stored     dataset.Pins // the local copy; zero if there is none
	storedBad  bool         // the local copy is damaged
	storeErr   error        // of the last access to the local copy
	storeAt    time.Time    // when the local copy may be written again after a failure

	pinFor time.Duration
}

// wantsStore reports whether the pins must be stored locally. Without any pin so far there is no local copy.
func (p *pinState) wantsStore() bool {
	switch {
	case !p.storedRead || !p.known:
		return false
	case p.storedBad:
		return true
	case p.list.Entry == 0 && p.stored.Entry == 0:
		return false
	}
	return !p.stored.SameEntry(p.list) || len(p.list.Versions) > len(p.stored.Versions)
}

// pinsWork is a message: the local copy was read or written, and the relays were queried, as far as it was requested.
type pinsWork[T, D any] struct {
	dataset *datasetState[T, D]
	own     dataset.StoreID

	read, query, store bool
	toStore            dataset.Pins

	stored              dataset.Pins
	answer              dataset.Pins
	storeErr, answerErr error // of read or store, and of query
}

// isPinnedTo reports whether the pin of this instance is followed and names ref.
func (s *datasetState[T, D]) isPinnedTo(ref dataset.Ref) bool {
	return s.pins.held != nil && s.pins.held.Ref() == ref
}

// goal returns the version that is to be served: the pinned one, or the target. It is zero if its record is unknown.
func (s *datasetState[T, D]) goal() dataset.VersionRecord {
	if s.pins.held != nil {
		return s.pins.record
	}
	return s.target
}

// goalBarred reports whether the goal must not be loaded.
func (s *datasetState[T, D]) goalBarred() bool {
	if s.pins.held == nil {
		return s.targetBarred
	}
	return slices.ContainsFunc(s.barred, func(b Barred) bool { return s.isPinnedTo(b.Ref) })
}

// wantsPinned reports whether the pinned version has to be loaded.
func (s *datasetState[T, D]) wantsPinned() bool {
	served := s.served.Load()
	return s.pins.record.Version > 0 && (served == nil || !s.isPinnedTo(served.Ref()))
}

// admits reports whether the loaded version may be swapped in: a pin may have come or gone during the load.
func (s *datasetState[T, D]) admits(m *loadedJob[T, D]) bool {
	switch {
	case m.stored:
		return true
	case s.pins.held != nil:
		return s.isPinnedTo(m.version.ref())
	case m.pinned:
		m.replaces = false // the pin is gone: the version counts only if it is newer than the served one
	}
	return true
}

// onEntry handles a journal entry that a message brought.
func (e *Engine[T, D]) onEntry(entry dataset.Entry) {
	s := e.datasets[entry.Dataset]
	if s == nil || e.deps.Pins == nil || entry.Kind != dataset.EntryPin && entry.Kind != dataset.EntryUnpin {
		return
	}
	if e.isOtherStore(entry.StoreID) {
		e.ignoreOtherStore(s, entry.StoreID, "pins")
		return
	}
	p := &s.pins
	pins, err := dataset.PinsOf(entry)
	if err != nil || p.known && entry.Number <= p.list.Entry && !p.list.SameEntry(pins) {
		e.requestPins(s) // the relays have the entry in a readable form, or know which of two is right
		return
	}
	if p.known && p.list.SameEntry(pins) {
		return
	}
	e.followPins(s, pins, false)
	p.lower = time.Time{}
	e.requestPins(s)
}

// onJournal handles the newest journal entry that a beacon names. An entry that the instance does not know may be a pin whose message was
// lost.
func (e *Engine[T, D]) onJournal(s *datasetState[T, D], number uint64) {
	p := &s.pins
	switch {
	case e.deps.Pins == nil, number == p.named && (p.wantsQuery || p.running):
		return
	case number > 0 && number < max(p.journal, p.named):
		// The store was restored and has lost entries, or the publisher is behind. The relays know, and are asked once.
		if number != p.regressed {
			p.regressed, p.named = number, number
			e.requestPins(s)
		}
		return
	case number <= p.journal:
		return
	}
	if number > p.named {
		p.retryAt, p.regressed = time.Time{}, 0
	}
	p.named = max(p.named, number)
	p.wantsQuery = true
}

// requestPins requests a query of the relays that begins at once.
func (e *Engine[T, D]) requestPins(s *datasetState[T, D]) {
	s.pins.wantsQuery, s.pins.retryAt = true, time.Time{}
}

// requestAllPins requests a query about each dataset, because messages may have been missed. Refreshes wait for the answers.
func (e *Engine[T, D]) requestAllPins(now time.Time) {
	if e.deps.Pins == nil {
		return
	}
	for _, s := range e.datasets {
		e.requestPins(s)
		s.pins.holdUntil = now.Add(pinsHeadStart)
	}
}

// startPins starts the work on pins that is due, for at most maxQueries datasets at a time. It returns when the next is due, or next if that
// is earlier.
func (e *Engine[T, D]) startPins(now, next time.Time) time.Time {
	if e.deps.Pins == nil {
		return next
	}
	for _, name := range e.cfg.Datasets {
		s := e.datasets[name]
		p := &s.pins
		if p.running || e.pinsRunning >= maxQueries {
			continue
		}
		w := &pinsWork[T, D]{dataset: s, own: e.Store().ID, read: !p.storedRead, store: p.wantsStore(), toStore: p.list}
		if w.store && p.storeAt.After(now) {
			w.store = false
			next = earlier(next, p.storeAt)
		}
		if w.query = p.wantsQuery; w.query && p.retryAt.After(now) {
			w.query = false
			next = earlier(next, p.retryAt)
		}
		if !w.read && !w.store && !w.query {
			continue
		}
		if w.query {
			p.wantsQuery = false
		}
		p.running = true
		e.pinsRunning++
		e.queryWorkers.Go(func() { e.workOnPins(w) })
	}
	return next
}

// workOnPins does the work. The local copy comes first, because it is there without any server.
func (e *Engine[T, D]) workOnPins(w *pinsWork[T, D]) {
	name := w.dataset.name
	if w.read {
		w.storeErr = guard.Try(func() (err error) { w.stored, err = e.deps.Pins.Stored(name); return err })
		if w.storeErr == nil {
			// The loop holds the pinned version from now on, and not only after the relays have answered.
			e.send(message[T, D]{pinsRead: w})
			w = &pinsWork[T, D]{dataset: w.dataset, own: w.own, query: w.query}
		}
	}
	if w.store {
		w.storeErr = guard.Try(func() error { return e.deps.Pins.Store(name, w.toStore) })
	}
	if w.query {
		ctx, cancel := context.WithTimeout(e.ctx, e.cfg.Stall)
		w.answerErr = guard.Try(func() (err error) { w.answer, err = e.deps.Pins.Query(ctx, name, w.own); return err })
		cancel()
	}
	e.send(message[T, D]{pinsDone: w})
}

// onPinsRead follows the pins of the local copy, unless others are known by now.
func (e *Engine[T, D]) onPinsRead(w *pinsWork[T, D]) {
	p := &w.dataset.pins
	p.storedRead, p.stored = true, w.stored
	if !p.known && !e.isOtherStore(w.stored.StoreID) {
		e.followPins(w.dataset, w.stored, false)
	}
}

// onPinsDone handles the results of the work.
func (e *Engine[T, D]) onPinsDone(w *pinsWork[T, D]) {
	s, p := w.dataset, &w.dataset.pins
	p.running = false
	e.pinsRunning--
	switch {
	case w.read && errors.Is(w.storeErr, ErrNone):
		p.storedRead = true
	case w.read: // it failed: onPinsRead gets pins that were read
		p.storedRead, p.storedBad, p.storeErr = true, errors.Is(w.storeErr, ErrPinsDamaged), w.storeErr
	case w.store && w.storeErr == nil:
		p.stored, p.storedBad, p.storeErr = w.toStore, false, nil
	case w.store:
		p.storeErr, p.storeAt = w.storeErr, time.Now().Add(e.cfg.Retry.Max)
	}
	if w.query {
		e.onPinsAnswer(s, w)
	}
	s.syncHealth()
}

// onPinsAnswer handles an answer of the relays about pins.
func (e *Engine[T, D]) onPinsAnswer(s *datasetState[T, D], w *pinsWork[T, D]) {
	p := &s.pins
	p.holdUntil = time.Time{}
	err := w.answerErr
	if err == nil && e.isOtherStore(w.answer.StoreID) {
		if !p.known || p.held == nil {
			p.refused = fmt.Sprintf("the pins of %s are of store %s, and the relays read store %s; they are not followed", s.name, w.answer.StoreID, e.Store().ID)
		}
		err = ErrNoPins
	}
	p.err = err
	switch {
	case errors.Is(err, ErrNoPins):
		p.err = nil
		p.journal = p.named // a further query would have the same answer
		p.backoff.Reset()
		return
	case err != nil:
		e.retryPins(s)
		return
	}
	if p.known && w.answer.StoreID == p.list.StoreID && w.answer.Entry < p.list.Entry {
		if now := time.Now(); p.lower.IsZero() || now.Sub(p.lower) < lowerPinsAfter {
			if p.lower.IsZero() {
				p.lower = now
			}
			e.retryPins(s)
			return
		}
		p.named = w.answer.Journal // the store has lost the entries after that
	}
	p.lower = time.Time{}
	p.journal = w.answer.Journal
	e.followPins(s, w.answer, true)
	if p.named > p.journal {
		e.retryPins(s)
		return
	}
	p.backoff.Reset()
}

// retryPins queries the relays about pins again, after a pause.
func (e *Engine[T, D]) retryPins(s *datasetState[T, D]) {
	s.pins.wantsQuery, s.pins.retryAt = true, time.Now().Add(s.pins.backoff.Next())
}
