package refresh

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// beacons is what publishers' beacons report of a dataset.
type beacons struct {
	newest     uint64    // the newest version that a beacon named
	at         time.Time // when a beacon named that version last
	requested  uint64    // the newest version for which a catch-up was requested
	publishers publishers
}

// missed reports whether a beacon named a version that no event has announced yet.
func (s *datasetState[T, D]) missed() bool { return s.beacons.newest > s.known() }

// onBeacons handles beacons from the Beacons channel.
func (e *Engine[T, D]) onBeacons(received events.Beacons) {
	if received.Denied != nil {
		for _, s := range e.datasets {
			s.updateHealth(func(h *Health) { h.Denied = received.Denied })
		}
	}
	for name, reports := range received.Reports {
		s := e.datasets[name]
		if s == nil {
			continue
		}
		for _, r := range reports {
			if e.isOtherStore(r.Store) {
				e.ignoreOtherStore(s, r.Store, "beacons")
				continue
			}
			if !r.Store.IsZero() && e.Store().ID.IsZero() {
				e.queryStore(s, r.Store, fmt.Sprintf("a beacon of %s names store %s, and no relay has named one", r.Publisher, r.Store))
			}
			e.onBeacon(s, r)
		}
	}
}

// onBeacon handles what one beacon of the instance's store names as the newest version of the dataset.
func (e *Engine[T, D]) onBeacon(s *datasetState[T, D], r events.Report) {
	e.onJournal(s, r.Journal)
	longest := longestTrust * e.cfg.BeaconWithin / events.BlindAfter
	period := r.Every
	r.Every = min(r.Every, longest)
	below := s.recordBeacon(r)
	if below == events.BlindAfter && e.deps.Pins != nil {
		e.requestPins(s) // the store may have been restored, and have lost its whole journal, which the beacon then does not name
	}
	s.compareClocks(r)
	conflict := s.beacons.publishers.conflict()
	s.updateHealth(func(h *Health) {
		h.Denied = nil
		h.Conflict = conflict
		h.Regressed = s.beacons.publishers.regressed(s.version())
		// A publisher that names an older version than was known one beacon ago reads another store. Its beacons confirm nothing,
		// and its period does not set how long the dataset stays fresh without a beacon.
		if below == 0 {
			h.Period, h.LongPeriod = r.Every, ""
			if period > longest {
				h.LongPeriod = fmt.Sprintf("beacons of %s come every %s, which is too seldom: they are trusted for %s (FRESHET_BEACON_WITHIN is %s)",
					r.Publisher, period, events.BlindAfter*longest, e.cfg.BeaconWithin)
			}
		}
	})
	if conflict == "" {
		if reason := s.questionsQuarantine(r); reason != "" {
			e.verifyWithRelays(s, reason)
		}
		if s.contradictedBy(r) {
			e.doubt(s, r)
			return
		}
		if below == 0 {
			s.confirm(r)
		}
	}
	s.noteVersion(r.Version)
	if b := &s.beacons; s.missed() && b.newest > b.requested {
		b.requested = b.newest
		e.requestHealing(fmt.Sprintf("a beacon of %s names version %d of %s, of which no event came", r.Publisher, b.newest, s.name))
	}
}

// recordBeacon records the newest version that r names, and returns how many consecutive beacons of its publisher named an older
// version than was known.
func (s *datasetState[T, D]) recordBeacon(r events.Report) (below int) {
	b := &s.beacons
	below = b.publishers.record(r, max(s.version(), b.newest))
	switch {
	case r.Version >= b.newest:
		b.newest, b.at = r.Version, r.At
	case s.missed() && below >= events.BlindAfter && r.At.Sub(b.at) > events.BlindAfter*r.Every:
		// No publisher names the missed version any more, and no catch-up has found it: it is gone, and retries must end.
		// Versions up to it may still be published, and are requested again then.
		b.newest, b.at, b.requested, b.publishers = r.Version, r.At, 0, nil
		s.syncHealth()
	}
	return below
}

// doubt marks the dataset as blind because r contradicts the served version, and requests the relays' answer.
func (e *Engine[T, D]) doubt(s *datasetState[T, D], r events.Report) {
	named := dataset.Ref{Version: r.Version, ID: r.ID}
	s.updateHealth(func(h *Health) {
		if h.Diverged == "" {
			h.Doubt = fmt.Sprintf("a beacon of %s names version %s as the newest, and another is served", r.Publisher, named)
		}
	})
	e.verifyWithRelays(s, fmt.Sprintf("a beacon of %s names version %s of %s, and another is served", r.Publisher, named, s.name))
}

// confirm records that r, which contradicts nothing, reports the newest version.
func (s *datasetState[T, D]) confirm(r events.Report) {
	if !r.Store.IsZero() {
		if r.Version == s.version() {
			s.endDivergence()
		}
		s.storeNewest = r.ID
	}
	s.setConfirmed(r.At)
}

// clockTolerance is how far a publisher's clock may be ahead without a warning.
const clockTolerance = 2 * time.Second

// compareClocks records how far the clock of the beacon's publisher is ahead. It cannot detect a clock that is behind, because a
// beacon takes time to arrive.
func (s *datasetState[T, D]) compareClocks(r events.Report) {
	ahead := r.Sent.Sub(r.At)
	s.updateHealth(func(h *Health) {
		switch {
		case !r.Sent.IsZero() && ahead > clockTolerance:
			h.ClockAhead = fmt.Sprintf("the clock of publisher %s is %s ahead of the clock of this instance: ages of versions are too low, "+
				"and %s becomes overdue too late; have both hosts set their clocks by the same time server (NTP)",
				r.Publisher, ahead.Round(100*time.Millisecond), s.name)
			h.ClockAheadOf, h.ClockAheadUntil = r.Publisher, r.At.Add(events.BlindAfter*r.Every)
		case h.ClockAheadOf == r.Publisher:
			h.ClockAhead, h.ClockAheadOf, h.ClockAheadUntil = "", "", time.Time{}
		}
	})
}
