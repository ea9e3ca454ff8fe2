package refresh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// Answer is one relay's answer about a dataset's newest version.
type Answer struct {
	Relay string
	// Store is the store that the relay reads; zero if the relay does not name it.
	Store dataset.StoreID
	// Record is the newest version in that store; its Version is 0 if there is none.
	Record dataset.VersionRecord
}

// Store is what an instance knows of the store that its relays read.
type Store struct {
	ID dataset.StoreID // zero until a relay names it
	// Warning describes relays that disagree, or messages of other stores; empty if there is nothing to warn of.
	Warning string
	// WarnedAt is when the cause of Warning was last observed.
	WarnedAt time.Time
	// IgnoredMessages counts the ignored messages of other stores. Changes counts how often the relays changed to another store.
	IgnoredMessages, Changes uint64
}

const (
	// warningFor is how long a warning stays without another occurrence of its cause.
	warningFor = time.Minute
	// maxOtherStores bounds the other stores that are tracked, and those that may cause queries of the relays within three beacon
	// periods.
	maxOtherStores = 16
)

// Store returns the store that the relays read, and warnings about it.
func (e *Engine[T, D]) Store() Store {
	s := *e.currentStore.Load()
	if time.Since(s.WarnedAt) > warningFor {
		s.Warning = ""
	}
	return s
}

// updateStore changes the result of Store. Only the loop calls it.
func (e *Engine[T, D]) updateStore(change func(*Store)) {
	s := *e.currentStore.Load()
	change(&s)
	e.currentStore.Store(&s)
}

// isOtherStore reports whether store is known and is not the instance's.
func (e *Engine[T, D]) isOtherStore(store dataset.StoreID) bool {
	own := e.Store().ID
	return !store.IsZero() && !own.IsZero() && store != own
}

// ofOtherStore reports whether rec belongs to another store than the instance's.
func (e *Engine[T, D]) ofOtherStore(rec dataset.VersionRecord) bool {
	return rec.Version > 0 && e.isOtherStore(rec.StoreID)
}

// ignoreOtherStore records a message of another store and warns of it. It also queries the relays for their store, because the
// store may have been exchanged.
func (e *Engine[T, D]) ignoreOtherStore(s *datasetState[T, D], store dataset.StoreID, what string) {
	own := e.Store().ID
	warning := fmt.Sprintf("%s of store %s are ignored: the relays read store %s; "+
		"if that store belongs to another environment, give each environment its own FRESHET_NAMESPACE", what, store, own)
	report := e.firstMessageOf(store)
	e.updateStore(func(st *Store) {
		st.IgnoredMessages++
		if e.relayWarning == "" { // otherwise the store may be that of a relay
			st.Warning, st.WarnedAt = warning, time.Now()
		}
	})
	if report {
		e.deps.Watcher.OtherStore(s.name, warning)
	}
	e.queryStore(s, store, fmt.Sprintf("%s name store %s", what, store))
}

// firstMessageOf records a message of the other store, and reports whether it is the first within warningFor. At maxOtherStores, it returns
// false for further stores, so that their messages are not reported.
func (e *Engine[T, D]) firstMessageOf(store dataset.StoreID) bool {
	last, ok := e.otherStores[store]
	if !ok && !hasSpace(e.otherStores, warningFor) {
		return false
	}
	e.otherStores[store] = time.Now()
	return !ok || time.Since(last) > warningFor
}

// queryStore requests a catch-up that queries the relays, which name their store. One other store causes at most one within three beacon
// periods. Messages that name ever new stores cannot make the instance poll either, because of maxOtherStores.
func (e *Engine[T, D]) queryStore(s *datasetState[T, D], store dataset.StoreID, reason string) {
	pause := events.BlindAfter * s.health.Load().Period
	last, ok := e.storeQueries[store]
	if ok && time.Since(last) < pause || !ok && !hasSpace(e.storeQueries, pause) {
		return
	}
	e.storeQueries[store] = time.Now()
	e.verifyWithRelays(s, reason)
}

// hasSpace reports whether another store may be added. From a full map it first removes the entries older than age.
func hasSpace(stores map[dataset.StoreID]time.Time, age time.Duration) bool {
	if len(stores) >= maxOtherStores {
		maps.DeleteFunc(stores, func(_ dataset.StoreID, at time.Time) bool { return time.Since(at) >= age })
	}
	return len(stores) < maxOtherStores
}

// settleStore decides from the relays' answers which store is the instance's, and reports whether that changed. The instance adopts
// another store only when all queries of a catch-up have ended and every relay that is up names that store.
func (e *Engine[T, D]) settleStore(m *catchUpRun) (changed bool) {
	stores, unnamed := e.storesOf(m)
	own := e.Store().ID
	switch len(stores) {
	case 0:
		return false
	case 1:
	default:
		e.warnOfDisagreement(stores)
		if own.IsZero() {
			e.adoptFirst(m)
		}
		return false
	}
	var id dataset.StoreID
	var relay string
	for id, relay = range stores {
	}
	if id != own && !own.IsZero() && (m.open > 0 || len(unnamed) > 0) {
		if m.open == 0 {
			e.warnOfSilence(id, relay, slices.Min(unnamed))
		}
		return false
	}
	if e.relayWarning != "" {
		e.relayWarning = ""
		e.updateStore(func(st *Store) { st.Warning = "" })
	}
	if id == own {
		return false
	}
	e.updateStore(func(st *Store) { st.ID, st.Warning = id, "" })
	if own.IsZero() {
		return false
	}
	e.changeStore(own, id)
	return true
}

// storesOf returns the stores that relays named in the catch-up, each with one of its relays, and the relays that are up and named
// none.
func (e *Engine[T, D]) storesOf(m *catchUpRun) (stores map[dataset.StoreID]string, unnamed []string) {
	stores = make(map[dataset.StoreID]string)
	named, own := make(map[string]bool), e.Store().ID
	unnamed = slices.Clone(m.silent)
	for _, answers := range m.answers {
		for _, a := range answers {
			if a.Store.IsZero() {
				if !own.IsZero() && e.relayStores[a.Relay] == own {
					unnamed = append(unnamed, a.Relay) // its store does not answer
				}
				continue
			}
			if _, ok := stores[a.Store]; !ok {
				stores[a.Store] = a.Relay
			}
			named[a.Relay] = true
			e.relayStores[a.Relay] = a.Store
		}
	}
	return stores, slices.DeleteFunc(unnamed, func(relay string) bool { return named[relay] })
}

// adoptFirst adopts the store of the relay that answered first for the first dataset.
func (e *Engine[T, D]) adoptFirst(m *catchUpRun) {
	for _, name := range e.cfg.Datasets {
		if answers := m.answers[name]; len(answers) > 0 && !answers[0].Store.IsZero() {
			e.updateStore(func(st *Store) { st.ID = answers[0].Store })
			return
		}
	}
}

// changeStore drops the state that came from the store old, after the instance has adopted another store.
func (e *Engine[T, D]) changeStore(old, adopted dataset.StoreID) {
	e.updateStore(func(st *Store) { st.Changes++ })
	for _, s := range e.datasets {
		s.beacons = beacons{}
		s.disowned = nil
		e.forgetPins(s, old)
		if e.ofOtherStore(s.target) {
			s.setTarget(dataset.VersionRecord{})
		}
		s.syncHealth()
	}
	e.deps.Watcher.StoreChanged(old, adopted)
}

// warnOfDisagreement warns that relays read different stores.
func (e *Engine[T, D]) warnOfDisagreement(stores map[dataset.StoreID]string) {
	warning := "relays disagree about the store:"
	for _, id := range slices.SortedFunc(maps.Keys(stores), func(a, b dataset.StoreID) int { return strings.Compare(a.String(), b.String()) }) {
		warning += fmt.Sprintf(" %s reads %s;", stores[id], id)
	}
	e.warnOfRelays(warning + " let all relays of an instance read one store")
}

// warnOfSilence warns that relay reads the store other, and that the instance keeps its own because the relay silent, which is up, may
// still read that.
func (e *Engine[T, D]) warnOfSilence(other dataset.StoreID, relay, silent string) {
	e.warnOfRelays(fmt.Sprintf("relay %s reads store %s, and the instance keeps store %s because relay %s does not say which store it reads: "+
		"if %s is the right store, restart or stop relay %s", relay, other, e.Store().ID, silent, other, silent))
}

// warnOfRelays sets the warning about the relays, and reports it if it is new.
func (e *Engine[T, D]) warnOfRelays(warning string) {
	report := e.relayWarning != warning
	e.relayWarning = warning
	e.updateStore(func(st *Store) { st.Warning, st.WarnedAt = warning, time.Now() })
	if report {
		e.deps.Watcher.OtherStore("", warning)
	}
}
