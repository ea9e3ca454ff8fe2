package refresh

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// hearing is what beacons said of a dataset.
type hearing struct {
	newest uint64    // the newest version named
	at     time.Time // when it was named last
	sought uint64    // the newest version that a catch-up was asked for
	claims claims
}

// missed reports whether a beacon named a version of which no event came yet.
func (s *set[T, D]) missed() bool { return s.hearing.newest > s.known() }

// onHeard takes in what beacons said.
func (e *Engine[T, D]) onHeard(heard events.Heard) {
	if heard.Denied != nil {
		for _, s := range e.sets {
			s.update(func(h *Health) { h.Denied = heard.Denied })
		}
	}
	for name, words := range heard.Words {
		s := e.sets[name]
		if s == nil {
			continue
		}
		for _, w := range words {
			if e.isForeign(w.Store) {
				e.foreign(s, w.Store, "beacons")
				continue
			}
			if !w.Store.IsZero() && e.Store().ID.IsZero() {
				e.askWhichStore(s, w.Store, fmt.Sprintf("a beacon of %s names store %s, and no relay has named one", w.Publisher, w.Store))
			}
			e.named(s, w)
		}
	}
}

// named takes in what beacons said of the dataset.
func (e *Engine[T, D]) named(s *set[T, D], w events.Word) {
	r := &s.hearing
	most := longestTrust * e.cfg.BeaconWithin / events.BlindAfter
	named := w.Every
	w.Every = min(w.Every, most)
	below := r.claims.take(w, max(s.version(), r.newest))
	switch {
	case w.Version >= r.newest:
		r.newest, r.at = w.Version, w.At
	case s.missed() && below >= events.BlindAfter && w.At.Sub(r.at) > events.BlindAfter*w.Every:
		// Nobody names it any more. If it cannot be found either it is gone, and must not be looked for for ever.
		// The versions up to it may come to be yet, and must be looked for then.
		r.newest, r.at, r.sought, r.claims = w.Version, w.At, 0, nil
		s.news = s.news.upTo(max(s.known(), w.Version))
	}
	s.compareClocks(w)
	doubtful := s.doubtful(w)
	conflict := r.claims.conflict()
	s.update(func(h *Health) {
		h.Denied = nil
		h.Conflict = conflict
		h.Regressed = r.claims.regressed(s.version())
		// Who does not know what was known a beacon ago does not speak of the same store, and vouches for nothing: nor may its
		// period be how long the others are waited for.
		if below == 0 {
			h.Period, h.LongPeriod = w.Every, ""
			if named > most {
				h.LongPeriod = fmt.Sprintf("beacons of %s come every %s, which is too seldom: they are trusted for %s (FRESHET_BEACON_WITHIN is %s)",
					w.Publisher, named, events.BlindAfter*most, e.cfg.BeaconWithin)
			}
		}
	})
	if why := s.questions(w); why != "" && conflict == "" {
		e.verify(s, why)
	}
	switch {
	case doubtful && conflict == "":
		s.update(func(h *Health) {
			if h.Diverged == "" {
				h.Doubt = fmt.Sprintf("a beacon of %s names version %s as the newest, and another is served", w.Publisher, dataset.Ref{Version: w.Version, ID: w.ID})
			}
		})
		e.verify(s, fmt.Sprintf("a beacon of %s names version %s of %s, and another is served", w.Publisher, dataset.Ref{Version: w.Version, ID: w.ID}, s.name))
		return
	case below == 0 && conflict == "":
		if !w.Store.IsZero() && w.Version == s.version() {
			s.agrees()
		}
		if !w.Store.IsZero() {
			s.affirmed = w.ID
		}
		s.vouched(w.At)
	}
	s.learn(w.Version)
	if s.missed() && r.newest > r.sought {
		r.sought = r.newest
		e.wantHealing(fmt.Sprintf("a beacon of %s names version %d of %s, of which no event came", w.Publisher, r.newest, s.name))
	}
}

// clockTolerance is how far a publisher's clock may be ahead without a word.
const clockTolerance = 2 * time.Second

// compareClocks records how far the clock of the beacon's publisher is ahead. A beacon takes time to come, so that a clock behind
// is not known from it.
func (s *set[T, D]) compareClocks(w events.Word) {
	ahead := w.Sent.Sub(w.At)
	s.update(func(h *Health) {
		switch {
		case !w.Sent.IsZero() && ahead > clockTolerance:
			h.ClockAhead = fmt.Sprintf("the clock of publisher %s is %s ahead of the clock of this instance: ages of versions are too low, "+
				"and %s becomes overdue too late; have both hosts set their clocks by the same time server (NTP)",
				w.Publisher, ahead.Round(100*time.Millisecond), s.name)
			h.ClockAheadOf, h.ClockAheadUntil = w.Publisher, w.At.Add(events.BlindAfter*w.Every)
		case h.ClockAheadOf == w.Publisher:
			h.ClockAhead, h.ClockAheadOf, h.ClockAheadUntil = "", "", time.Time{}
		}
	})
}

// vouched takes note that the newest version was known at the time.
func (s *set[T, D]) vouched(at time.Time) {
	s.update(func(h *Health) {
		if at.After(h.Vouched) {
			h.Vouched = at
		}
	})
}

// learn takes note of a version.
func (s *set[T, D]) learn(version uint64) {
	if version > s.version() {
		s.news = s.news.add(version, time.Now())
	}
	s.tally()
}

// tally brings the health up to what is known.
func (s *set[T, D]) tally() {
	s.news = s.news.after(s.version())
	s.update(func(h *Health) {
		h.Announced = s.known()
		h.Newest = max(h.Announced, s.hearing.newest, s.kept.Ref.Version)
		h.BehindSince = s.news.since()
		if h.Diverged != "" && s.move != nil && (h.BehindSince.IsZero() || h.DivergedSince.Before(h.BehindSince)) {
			h.BehindSince = h.DivergedSince
		}
		if s.kept.Ref.Version > 0 && h.QuarantinedSince.IsZero() {
			h.QuarantinedSince = time.Now()
		} else if s.kept.Ref.Version == 0 {
			h.QuarantinedSince = time.Time{}
		}
		h.Quarantined, h.QuarantinedRef = s.kept.Why, s.kept.Ref
	})
}

// wantHealing asks for a catch-up because of what a beacon named. It adds nothing to one that is wanted for another reason,
// but that it is made at once.
func (e *Engine[T, D]) wantHealing(reason string) {
	c := &e.catchUp
	if c.reason == "" || c.heals {
		c.reason, c.heals = reason, true
	}
	c.retryAt = time.Time{}
}

// needless drops the wish for a catch-up if it was for versions that have become known meanwhile, by a late event most
// often: a beacon may overtake it.
func (e *Engine[T, D]) needless() {
	c := &e.catchUp
	if c.running || c.reason == "" || !c.heals {
		return
	}
	for _, s := range e.sets {
		if s.missed() || s.verify {
			return
		}
	}
	c.reason, c.heals, c.retryAt = "", false, time.Time{}
	c.backoff.Reset()
	for _, s := range e.sets {
		s.update(func(h *Health) { h.CatchUpErr = nil })
	}
}
