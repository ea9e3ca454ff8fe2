package refresh

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// Answer is what one relay says of a dataset's newest version.
type Answer struct {
	Relay string
	// Store is the store that the relay reads; zero if the relay does not say so.
	Store dataset.StoreID
	// Record is the newest version in that store; its Version is 0 if there is none.
	Record dataset.VersionRecord
}

// maxDisowned bounds the ids of a dataset that are remembered as not in the store's history.
const maxDisowned = 512

// maxCheckedStores bounds how many stores may make the relays be queried within three periods.
const maxCheckedStores = 16

// Store is what an instance knows of the store that its relays read.
type Store struct {
	ID dataset.StoreID // zero as long as no relay named one
	// Warning says what is wrong with stores: relays that disagree, or messages of other stores. It is empty if nothing is.
	Warning string
	// WarnedAt is when Warning was last found to be so.
	WarnedAt time.Time
	// Foreign counts messages of other stores, which were ignored, and Changes how often the relays changed to another store.
	Foreign, Changes uint64
}

// warningFor is how long a warning stays when nothing confirms it.
const warningFor = time.Minute

// Store returns what is known of the store.
func (e *Engine[T, D]) Store() Store {
	s := *e.storeNow.Load()
	if time.Since(s.WarnedAt) > warningFor {
		s.Warning = ""
	}
	return s
}

func (e *Engine[T, D]) updateStore(change func(*Store)) {
	s := *e.storeNow.Load()
	change(&s)
	e.storeNow.Store(&s)
}

// isForeign reports whether a message is of another store than the instance's.
func (e *Engine[T, D]) isForeign(store dataset.StoreID) bool {
	own := e.Store().ID
	return !store.IsZero() && !own.IsZero() && store != own
}

// foreign records a message of another store. It is a reason to ask the relays which store they read, once for each period in
// which such messages come: the store may have been exchanged.
func (e *Engine[T, D]) foreign(s *set[T, D], store dataset.StoreID, what string) {
	own := e.Store().ID
	warning := fmt.Sprintf("%s of store %s are ignored: the relays read store %s; "+
		"if that store is of another environment, give each a FRESHET_NAMESPACE of its own", what, store, own)
	first := e.unnamed(store)
	e.updateStore(func(st *Store) {
		st.Foreign++
		if e.disagreement == "" { // else the store may be that of a relay
			st.Warning, st.WarnedAt = warning, time.Now()
		}
	})
	if first {
		e.deps.Watcher.Foreign(s.name, warning)
	}
	e.askWhichStore(s, store, fmt.Sprintf("%s name store %s", what, store))
}

// unnamed reports whether no message of the store came within warningFor: whether to log it. The number of stores is bounded.
func (e *Engine[T, D]) unnamed(store dataset.StoreID) bool {
	last, ok := e.namedStores[store]
	if !ok && len(e.namedStores) >= maxCheckedStores {
		maps.DeleteFunc(e.namedStores, func(_ dataset.StoreID, at time.Time) bool { return time.Since(at) > warningFor })
		if len(e.namedStores) >= maxCheckedStores {
			return false
		}
	}
	e.namedStores[store] = time.Now()
	return !ok || time.Since(last) > warningFor
}

// askWhichStore makes the catcher query the relays for their store, at most once in three periods because of the same store.
// The number of stores is bounded too: messages that name ever new stores must not make the instance poll.
func (e *Engine[T, D]) askWhichStore(s *set[T, D], store dataset.StoreID, reason string) {
	pause := events.BlindAfter * s.health.Load().Period
	last, ok := e.checkedStores[store]
	if ok && time.Since(last) < pause {
		return
	}
	if !ok && len(e.checkedStores) >= maxCheckedStores {
		maps.DeleteFunc(e.checkedStores, func(_ dataset.StoreID, at time.Time) bool { return time.Since(at) >= pause })
		if len(e.checkedStores) >= maxCheckedStores {
			return
		}
	}
	e.checkedStores[store] = time.Now()
	e.verify(s, reason)
}

// ofOther reports whether rec is of another store than the instance's.
func (e *Engine[T, D]) ofOther(rec dataset.VersionRecord) bool {
	return rec.Version > 0 && e.isForeign(rec.StoreID)
}

// verify asks the relays for the newest version of the dataset, also if the event log has an answer.
func (e *Engine[T, D]) verify(s *set[T, D], reason string) {
	s.verify = true
	e.wantHealing(reason)
}

// doubtful reports whether w, a word of the instance's store, contradicts what is served: it names a version that is not above
// the served one, and is not the served one.
func (s *set[T, D]) doubtful(w events.Word) bool {
	served := s.served.Load()
	if served == nil || w.Store.IsZero() {
		return false
	}
	if w.Version != served.Record.Version {
		return w.Version < served.Record.Version
	}
	return !w.ID.IsZero() && w.ID != served.ID
}

// confirmed reports whether a beacon of the instance's store names ref as the newest, and no other publisher names another
// version that contradicts it.
func (s *set[T, D]) confirmed(ref dataset.Ref) bool {
	named := false
	for _, c := range s.hearing.claims {
		if c.store.IsZero() {
			continue
		}
		switch {
		case c.version == ref.Version && c.id == ref.ID:
			named = true
		case c.version >= ref.Version && time.Since(c.at) <= events.BlindAfter*c.every:
			return false // two publishers confirm different histories: the instance stays where it is
		}
	}
	return named
}

// stored compares the served version with the newest of the relays' store, and reports whether that is known now. The relays
// were queried at asked or later.
func (e *Engine[T, D]) stored(s *set[T, D], answers []Answer, asked time.Time) (known bool) {
	newest, ok := e.newestOf(answers)
	if !ok {
		return false
	}
	switch t := s.target; {
	case t.Version <= s.version():
	case t.Version > newest.Version && (s.health.Load().Failures > 0 && !s.confirmed(t.Ref()) || s.failing() || s.blocked):
		// Only an event names it, it or another such version cannot be loaded or must not be, and the store does not have it.
		e.reject(s, t)
	case t.Version == newest.Version && t.VersionID() != newest.VersionID():
		e.reject(s, t)
	}
	served := s.served.Load()
	if served == nil || newest.Version > served.Record.Version {
		if s.health.Load().Conflict != "" && served != nil {
			return false // the relays may read different copies of the store
		}
		e.announce(s, newest)
		s.affirmed = newest.VersionID()
		return true
	}
	late := served.At.After(asked) // the answers may be older than the served version
	// The store may have another version. A relay that is behind must change nothing: a beacon has to name the same.
	for _, a := range answers {
		r := dataset.Ref{Version: a.Record.Version}
		if r.Version > 0 {
			r.ID = a.Record.VersionID()
		}
		if e.isForeign(a.Store) || a.Store.IsZero() || r == served.Ref() || late {
			continue
		}
		if s.confirmed(r) {
			e.diverged(s, a.Record)
			return true // what the newest version is, is known
		}
		if r.Version == served.Record.Version && !served.ID.IsZero() {
			s.update(func(h *Health) {
				if h.Diverged == "" {
					h.Doubt = fmt.Sprintf("relay %s has version %s, and another with its number is served", a.Relay, r)
				}
			})
			return false
		}
	}
	if newest.Ref() != served.Ref() || s.contradicted() {
		return false
	}
	s.agrees()
	s.affirmed = served.ID
	return true
}

// contradicted reports whether a publisher of the instance's store goes on to name another version than the served one, so that
// what one relay has does not settle which is the newest.
func (s *set[T, D]) contradicted() bool {
	for _, c := range s.hearing.claims {
		if c.below >= belowIsOther && c.version < s.version() && !c.store.IsZero() && time.Since(c.at) <= events.BlindAfter*c.every {
			return true
		}
	}
	return false
}

// newestOf returns the newest version that the answers of the instance's store name; ok is false if there are none.
func (e *Engine[T, D]) newestOf(answers []Answer) (newest dataset.VersionRecord, ok bool) {
	for _, a := range answers {
		if a.Store.IsZero() || e.isForeign(a.Store) {
			continue
		}
		if !ok || a.Record.Version > newest.Version {
			newest, ok = a.Record, true
		}
	}
	return newest, ok
}

// agrees ends what was wrong with the served version.
func (s *set[T, D]) agrees() {
	s.move = nil
	s.update(func(h *Health) { h.Diverged, h.Doubt = "", "" })
	if !s.blocked {
		s.kept = Barred{}
	}
	s.tally()
}

// diverged says that what is served is not in the store's history, and brings the dataset to rec, the store's newest version.
// If the store has none (rec.Version is 0), what is served is served on.
func (e *Engine[T, D]) diverged(s *set[T, D], rec dataset.VersionRecord) {
	served := s.served.Load()
	s.disown(served.ID)
	if served.Record.Version-1 > rec.Version {
		s.disown(served.Record.Previous)
	}
	for _, d := range served.Record.Deltas {
		if d.Version-1 > rec.Version {
			s.disown(d.From)
		}
	}
	if s.target.Version > rec.Version {
		s.disown(s.target.VersionID())
	}
	why := fmt.Sprintf("version %s is served and is not in the history of the store, whose newest version is %s", served.Ref(), rec.Ref())
	if rec.Version == 0 {
		why = fmt.Sprintf("version %s is served, and the store has no version of the dataset", served.Ref())
	}
	now := time.Now()
	s.update(func(h *Health) {
		if h.Diverged == "" {
			h.DivergedSince = now
		}
		h.Diverged, h.Doubt = why, ""
	})
	s.aim(dataset.VersionRecord{})
	s.move = nil
	s.hearing.newest, s.hearing.sought = rec.Version, 0
	if rec.Version > 0 {
		s.move = &rec
		s.aim(rec)
		s.failedAt, s.retryAt = time.Time{}, time.Time{}
		s.backoff.Reset()
	}
	s.tally()
}

// failing reports whether the last attempt at the target failed.
func (s *set[T, D]) failing() bool {
	return s.health.Load().Failures > 0 && s.tried == s.target.Version
}

// reject forgets rec, which an event alone names and which cannot be loaded.
func (e *Engine[T, D]) reject(s *set[T, D], rec dataset.VersionRecord) {
	s.disown(rec.VersionID())
	s.aim(dataset.VersionRecord{})
	s.news = s.news.upTo(s.version())
	if s.hearing.newest >= rec.Version {
		s.hearing.newest, s.hearing.sought = 0, 0
	}
	s.failedAt, s.retryAt = time.Time{}, time.Time{}
	s.backoff.Reset()
	s.update(func(h *Health) { h.Err, h.Failures, h.FailingSince = nil, 0, time.Time{} })
	s.tally()
	e.deps.Watcher.Rejected(rec)
}

// disown remembers a version as not in the store's history, so that its event does not bring it back.
func (s *set[T, D]) disown(id dataset.VersionID) {
	if id.IsZero() || slices.Contains(s.disowned, id) {
		return
	}
	if len(s.disowned) == maxDisowned {
		s.disowned = s.disowned[1:]
	}
	s.disowned = append(s.disowned, id)
}

// follows reports whether rec may lead on from what is served. It is false only if rec says that it leads on from another
// version.
func (s *set[T, D]) follows(rec dataset.VersionRecord) bool {
	served := s.served.Load()
	if served == nil || rec.StoreID.IsZero() || served.ID.IsZero() {
		return true
	}
	for _, d := range rec.Deltas {
		if d.Version == served.Record.Version+1 {
			return d.From.IsZero() || d.From == served.ID
		}
	}
	return rec.Version != served.Record.Version+1 || rec.Previous.IsZero() || rec.Previous == served.ID
}
