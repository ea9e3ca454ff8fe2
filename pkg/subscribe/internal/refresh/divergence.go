package refresh

import (
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// maxDisowned bounds the remembered ids of a dataset's versions that are not in the store's history.
const maxDisowned = 512

// contradictedBy reports whether r, a beacon of the instance's store, contradicts the served version: it names the served
// number or a lower one, and not the served version.
func (s *datasetState[T, D]) contradictedBy(r events.Report) bool {
	served := s.served.Load()
	if served == nil || r.Store.IsZero() {
		return false
	}
	if r.Version != served.Record.Version {
		return r.Version < served.Record.Version
	}
	return !r.ID.IsZero() && r.ID != served.ID
}

// confirmed reports whether an active publisher of the instance's store names ref as the newest version, and no other publisher names a
// version that contradicts it.
func (s *datasetState[T, D]) confirmed(ref dataset.Ref) bool {
	named := false
	for _, p := range s.beacons.publishers {
		if p.store.IsZero() {
			continue
		}
		switch {
		case p.version == ref.Version && p.id == ref.ID:
			named = true
		case p.version >= ref.Version && p.active(time.Now()):
			return false // two publishers confirm different histories, so the instance keeps its version
		}
	}
	return named
}

// disputed reports whether a publisher of the instance's store keeps naming a version below the served one. The answer of one relay does
// not settle then which is the newest.
func (s *datasetState[T, D]) disputed() bool {
	for _, p := range s.beacons.publishers {
		if p.below >= conflictAfter && p.version < s.version() && !p.store.IsZero() && p.active(time.Now()) {
			return true
		}
	}
	return false
}

// mayFollow reports whether rec may extend the served version. It is false only if rec names another version as its base.
func (s *datasetState[T, D]) mayFollow(rec dataset.VersionRecord) bool {
	served := s.served.Load()
	if served == nil || rec.StoreID.IsZero() || served.ID.IsZero() {
		return true
	}
	if deltas := rec.DeltasFrom(served.Record.Version); len(deltas) > 0 {
		return deltas[0].From.IsZero() || deltas[0].From == served.ID
	}
	return rec.Version != served.Record.Version+1 || rec.Previous.IsZero() || rec.Previous == served.ID
}

// newestOf returns the newest version in the answers of the instance's store; ok is false if there are no such answers.
func (e *Engine[T, D]) newestOf(answers []Answer) (newest dataset.VersionRecord, ok bool) {
	for _, a := range answers {
		if a.Store.IsZero() || e.isOtherStore(a.Store) {
			continue
		}
		if !ok || a.Record.Version > newest.Version {
			newest, ok = a.Record, true
		}
	}
	return newest, ok
}

// compareWithStore compares the target and the served version with the relays' answers to queries that began at asked or later. It
// rejects a target that the store does not have, advances to a newer version, and detects divergence. It reports whether the
// newest version of the store is known now.
func (e *Engine[T, D]) compareWithStore(s *datasetState[T, D], answers []Answer, asked time.Time) (known bool) {
	newest, ok := e.newestOf(answers)
	if !ok {
		return false
	}
	e.rejectTarget(s, newest)
	served := s.served.Load()
	if served == nil || newest.Version > served.Record.Version {
		if s.health.Load().Conflict != "" && served != nil {
			return false // the relays may read different copies of the store
		}
		e.advance(s, newest)
		s.storeNewest = newest.VersionID()
		return true
	}
	if !served.At.After(asked) { // otherwise the answers may be older than the served version
		if settled, known := e.compareAnswers(s, served, answers); settled {
			return known
		}
	}
	if newest.Ref() != served.Ref() || s.disputed() || s.health.Load().Conflict != "" {
		return false // while publishers contradict each other, a relay may read either copy of the store
	}
	s.endDivergence()
	s.storeNewest = served.ID
	return true
}

// rejectTarget rejects the target if the store, whose newest version is newest, does not have it: either it has another version of
// that number, or the target is above newest, no beacon names it, and it could not or must not be loaded.
func (e *Engine[T, D]) rejectTarget(s *datasetState[T, D], newest dataset.VersionRecord) {
	switch t := s.target; {
	case t.Version <= s.version():
	case t.Version > newest.Version && s.pins.held == nil && ( // the failures of a pinned dataset are those of the pinned version
	s.health.Load().Failures > 0 && !s.confirmed(t.Ref()) || s.targetFailed() || s.targetBarred):
		e.reject(s, t)
	case t.Version == newest.Version && t.VersionID() != newest.VersionID():
		e.reject(s, t)
	}
}

// compareAnswers looks for a relay whose store has another newest version than the served one. A relay that is only behind must
// change nothing, so a beacon has to name the same version before the dataset counts as diverged. settled is false if no answer
// decides; known is the result of compareWithStore otherwise.
func (e *Engine[T, D]) compareAnswers(s *datasetState[T, D], served *Served[T], answers []Answer) (settled, known bool) {
	for _, a := range answers {
		ref := dataset.Ref{Version: a.Record.Version}
		if ref.Version > 0 {
			ref.ID = a.Record.VersionID()
		}
		if e.isOtherStore(a.Store) || a.Store.IsZero() || ref == served.Ref() {
			continue
		}
		if s.confirmed(ref) {
			e.diverge(s, a.Record)
			return true, true
		}
		if ref.Version == served.Record.Version && !served.ID.IsZero() {
			s.updateHealth(func(h *Health) {
				if h.Diverged == "" {
					h.Doubt = fmt.Sprintf("relay %s has version %s, and another with its number is served", a.Relay, ref)
				}
			})
			return true, false
		}
	}
	return false, false
}

// diverge records that the served version is not in the store's history, and makes rec, the store's newest version, its replacement. If
// the store has no version (rec.Version is 0), the served version stays.
func (e *Engine[T, D]) diverge(s *datasetState[T, D], rec dataset.VersionRecord) {
	served := s.served.Load()
	s.disownFrom(served.Record, served.ID, rec.Version)
	why := fmt.Sprintf("version %s is served and is not in the history of the store, whose newest version is %s", served.Ref(), rec.Ref())
	if rec.Version == 0 {
		why = fmt.Sprintf("version %s is served, and the store has no version of the dataset", served.Ref())
	}
	now := time.Now()
	s.updateHealth(func(h *Health) {
		if h.Diverged == "" {
			h.DivergedSince = now
		}
		h.Diverged, h.Doubt = why, ""
	})
	s.setTarget(dataset.VersionRecord{})
	s.replacement = nil
	s.beacons.newest, s.beacons.requested = rec.Version, 0
	if rec.Version > 0 {
		s.replacement = &rec
		s.setTarget(rec)
		s.resetRetry()
	}
	s.syncHealth()
}

// disownFrom disowns the served version, the versions before it that are above newest, and a target above newest.
func (s *datasetState[T, D]) disownFrom(served dataset.VersionRecord, id dataset.VersionID, newest uint64) {
	s.disown(id)
	if served.Version-1 > newest {
		s.disown(served.Previous)
	}
	for _, d := range served.Deltas {
		if d.Version-1 > newest {
			s.disown(d.From)
		}
	}
	if s.target.Version > newest {
		s.disown(s.target.VersionID())
	}
}

// endDivergence records that the served version is in the store's history.
func (s *datasetState[T, D]) endDivergence() {
	s.replacement = nil
	s.updateHealth(func(h *Health) { h.Diverged, h.Doubt = "", "" })
	if !s.targetBarred {
		s.quarantined = Barred{}
	}
	s.syncHealth()
}

// reject drops the target rec, which the store does not have.
func (e *Engine[T, D]) reject(s *datasetState[T, D], rec dataset.VersionRecord) {
	s.disown(rec.VersionID())
	s.setTarget(dataset.VersionRecord{})
	if s.beacons.newest >= rec.Version {
		s.beacons.newest, s.beacons.requested = 0, 0
	}
	if s.pins.held == nil {
		s.clearFailure()
	}
	s.syncHealth()
	e.deps.Watcher.Rejected(rec)
}

// disown remembers that a version is not in the store's history, so that onRecord ignores its event.
func (s *datasetState[T, D]) disown(id dataset.VersionID) {
	if id.IsZero() || slices.Contains(s.disowned, id) {
		return
	}
	if len(s.disowned) == maxDisowned {
		s.disowned = s.disowned[1:]
	}
	s.disowned = append(s.disowned, id)
}
