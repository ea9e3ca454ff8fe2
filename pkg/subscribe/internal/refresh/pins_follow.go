package refresh

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
)

// followPins makes pins those that the dataset follows. confirmed is true if a relay sent them, with the versions that the store has.
func (e *Engine[T, D]) followPins(s *datasetState[T, D], pins dataset.Pins, confirmed bool) {
	p := &s.pins
	before, was := p.held, p.list
	p.list, p.known, p.confirmed, p.refused = pins, true, confirmed, ""
	p.held, p.record = nil, dataset.VersionRecord{}
	if pin, ok := e.deps.Pins.Of(pins); ok {
		e.hold(s, pin, was)
	}
	changed := (before == nil) != (p.held == nil) || before != nil && before.Ref() != p.held.Ref()
	if changed {
		s.clearFailure()
	}
	if p.held == nil && before != nil {
		s.unserved = nil // the instance was not behind while it was pinned
	}
	s.syncHealth()
}

// hold follows the pin, unless the store does not have its version. was are the pins before, which may have the record.
func (e *Engine[T, D]) hold(s *datasetState[T, D], pin dataset.Pin, was dataset.Pins) {
	p := &s.pins
	rec, ok := p.list.Record(pin.Version)
	switch {
	case ok && rec.VersionID() == pin.ID:
		p.record = rec
	case p.confirmed && ok:
		p.refused = fmt.Sprintf("the pin to version %s (journal entry %d) is not followed: version %d of the store has the id %s",
			pin.Ref(), pin.Entry, rec.Version, rec.VersionID().Short())
		return
	case p.confirmed:
		p.refused = fmt.Sprintf("the pin to version %s (journal entry %d) is not followed: the store does not have that version", pin.Ref(), pin.Entry)
		return
	default:
		p.record = s.recordOf(pin.Ref(), was)
	}
	p.held = &pin
}

// recordOf returns the record of ref if it is at hand; the zero record if it is not.
func (s *datasetState[T, D]) recordOf(ref dataset.Ref, was dataset.Pins) dataset.VersionRecord {
	if rec, ok := was.Record(ref.Version); ok && rec.VersionID() == ref.ID {
		return rec
	}
	if v := s.served.Load(); v != nil && v.Ref() == ref && v.Damage == nil {
		return v.Record
	}
	if s.target.Version == ref.Version && s.target.VersionID() == ref.ID {
		return s.target
	}
	return dataset.VersionRecord{}
}

// forgetPins drops the pins of a store that is no longer the instance's.
func (e *Engine[T, D]) forgetPins(s *datasetState[T, D], old dataset.StoreID) {
	if e.deps.Pins == nil {
		return
	}
	held, p := s.pins.held, s.pins
	s.pins = pinState{
		backoff: p.backoff, running: p.running, pinFor: p.pinFor,
		storedRead: p.storedRead, stored: p.stored, storedBad: p.storedBad, storeErr: p.storeErr, storeAt: p.storeAt,
	}
	if held != nil {
		s.pins.refused = fmt.Sprintf("the pin to version %s is of store %s, which the relays no longer read; it is not followed", held.Ref(), old)
	}
	e.requestPins(s)
	s.pins.holdUntil = time.Now().Add(pinsHeadStart)
}

// syncPin copies the pin into the health. While a pin is followed, only that of the pinned version counts as quarantine.
func (s *datasetState[T, D]) syncPin(h *Health) {
	p := &s.pins
	h.PinRefused, h.PinErr, h.PinStoreErr = p.refused, p.err, nil
	if p.storedBad || p.list.Entry > 0 { // otherwise there is nothing to store
		h.PinStoreErr = p.storeErr
	}
	h.Pin, h.PinServed, h.PinKnown, h.PinnedUntil = p.held, false, p.record.Version > 0, time.Time{}
	if p.held == nil {
		h.PinnedSince = time.Time{}
		return
	}
	if h.PinnedSince.IsZero() {
		h.PinnedSince = time.Now()
	}
	h.PinnedUntil = p.held.At.Add(p.pinFor)
	served := s.served.Load()
	if h.PinServed = served != nil && s.isPinnedTo(served.Ref()); h.PinServed {
		h.BehindSince = time.Time{}
	}
	h.Quarantined, h.QuarantinedRef, h.QuarantinedSince = "", dataset.Ref{}, time.Time{}
	for _, b := range s.barred {
		if s.isPinnedTo(b.Ref) && !h.PinServed {
			h.Quarantined, h.QuarantinedRef, h.QuarantinedSince = b.Why, b.Ref, h.PinnedSince
		}
	}
}
