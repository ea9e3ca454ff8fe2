package refresh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

// settleStore decides which store is the instance's, and reports whether that is another one now. The instance goes to another store only
// when all answers of a catch-up are in, and every relay that is up names that store.
func (e *Engine[T, D]) settleStore(m *caughtUp) (changed bool) {
	stores := map[dataset.StoreID]string{} // with a relay that reads each
	named, unnamed := map[string]bool{}, slices.Clone(m.silent)
	own := e.Store().ID
	for _, all := range m.answers {
		for _, a := range all {
			switch _, ok := stores[a.Store]; {
			case a.Store.IsZero():
				if !own.IsZero() && e.relayStores[a.Relay] == own {
					unnamed = append(unnamed, a.Relay) // its store does not answer
				}
				continue
			case !ok:
				stores[a.Store] = a.Relay
			}
			named[a.Relay] = true
			e.relayStores[a.Relay] = a.Store
		}
	}
	unnamed = slices.DeleteFunc(unnamed, func(relay string) bool { return named[relay] })
	switch {
	case len(stores) > 1:
		e.disagree(stores)
		if own.IsZero() { // the first relay that answered for the first dataset
			for _, name := range e.cfg.Datasets {
				if all := m.answers[name]; len(all) > 0 && !all[0].Store.IsZero() {
					e.updateStore(func(st *Store) { st.ID = all[0].Store })
					return false
				}
			}
		}
		return false
	case len(stores) == 0:
		return false
	}
	var id dataset.StoreID
	var relay string
	for id, relay = range stores {
	}
	if id != own && !own.IsZero() && (m.open > 0 || len(unnamed) > 0) {
		if m.open == 0 {
			e.keepStore(id, relay, slices.Min(unnamed))
		}
		return false
	}
	if e.disagreement != "" {
		e.disagreement = ""
		e.updateStore(func(st *Store) { st.Warning = "" })
	}
	if id == own {
		return false
	}
	e.updateStore(func(st *Store) { st.ID = id; st.Warning = "" })
	if own.IsZero() {
		return false
	}
	e.updateStore(func(st *Store) { st.Changes++ })
	for _, s := range e.sets {
		s.hearing = hearing{}
		s.disowned = nil
		if e.ofOther(s.target) {
			s.aim(dataset.VersionRecord{})
		}
		s.tally()
	}
	e.deps.Watcher.StoreChanged(own, id)
	return true
}

// disagree warns that relays read different stores.
func (e *Engine[T, D]) disagree(stores map[dataset.StoreID]string) {
	warning := "relays disagree about the store:"
	for _, id := range slices.SortedFunc(maps.Keys(stores), func(a, b dataset.StoreID) int { return strings.Compare(a.String(), b.String()) }) {
		warning += fmt.Sprintf(" %s reads %s;", stores[id], id)
	}
	e.warnOfRelays(warning + " let all relays of an instance read one store")
}

// keepStore warns that the relays that answer read the store other, and that the instance keeps its own: the relay silent is up and may
// read that.
func (e *Engine[T, D]) keepStore(other dataset.StoreID, relay, silent string) {
	e.warnOfRelays(fmt.Sprintf("relay %s reads store %s, and the instance keeps store %s because relay %s does not say which store it reads: "+
		"if %s is the right store, restart or stop relay %s", relay, other, e.Store().ID, silent, other, silent))
}

// warnOfRelays sets the warning about relays, and reports it once.
func (e *Engine[T, D]) warnOfRelays(warning string) {
	first := e.disagreement != warning
	e.disagreement = warning
	e.updateStore(func(st *Store) { st.Warning, st.WarnedAt = warning, time.Now() })
	if first {
		e.deps.Watcher.Foreign("", warning)
	}
}
