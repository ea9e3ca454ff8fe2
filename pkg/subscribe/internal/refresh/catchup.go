package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// catchUp is the loop's state of catching up.
type catchUp struct {
	backoff *backoff.ExponentialBackOff
	running bool
	reason  string    // why one is wanted; empty if none is
	heals   bool      // there is no reason but what beacons named
	first   bool      // none was made yet
	retryAt time.Time // not before then
}

// ask is what the catcher is to do.
type ask struct {
	reason string
	heals  bool
	began  time.Time
	served map[string]uint64 // the versions that are served; 0 for none
	named  map[string]uint64 // the versions that beacons named and no event announced
	verify map[string]bool   // the datasets that the relays are to be asked about, whatever the log says
	first  bool              // it is the first since the start
	ids    map[string]bool   // the datasets of which a version with a store id is served
	// affirmed are the ids that a beacon or a relay of the instance's store named last.
	affirmed map[string]dataset.VersionID
}

// caughtUp is what a catch-up found. After the log has answered it is the loop's.
type caughtUp struct {
	ask
	known   map[string]dataset.VersionRecord // the log's answer
	unknown []string                         // the datasets that the relays are queried about, in the order of the configuration
	// vouched are the datasets whose newest version the log proved.
	vouched []string
	logErr  error

	answers map[string][]Answer     // of the relays, as they come
	silent  []string                // relays that are up and did not answer a query
	errs    map[string]error        // by dataset, of queries of the relays
	healed  []dataset.VersionRecord // that a beacon led to
	open    int                     // queries of the relays that have not ended
}

// wantCatchUp asks for a catch-up that begins after now: one under way may have read the log before the reason arose.
func (e *Engine[T, D]) wantCatchUp(reason string) {
	e.catchUp.reason, e.catchUp.heals, e.catchUp.retryAt = reason, false, time.Time{}
}

func (e *Engine[T, D]) ask() {
	c := &e.catchUp
	a := ask{
		reason: c.reason, heals: c.heals, began: time.Now(), served: make(map[string]uint64), named: make(map[string]uint64),
		verify: make(map[string]bool), first: c.first, ids: make(map[string]bool),
		affirmed: make(map[string]dataset.VersionID),
	}
	for name, s := range e.sets {
		a.served[name], a.affirmed[name] = s.version(), s.affirmed
		if v := s.served.Load(); v != nil && !v.Record.StoreID.IsZero() {
			a.ids[name] = true
		}
		// The log does not bring back a version that was disowned, although a beacon names it: the relays decide.
		a.verify[name], s.verify = s.verify || s.missed() && len(s.disowned) > 0, false
		if s.missed() {
			a.named[name] = s.hearing.newest
		}
	}
	c.running, c.reason, c.heals, c.first = true, "", false, false
	e.asks <- a // has room: no other is under way
}

// onLogged takes in what the log says at once, and has the relays queried about each of the datasets that need it.
func (e *Engine[T, D]) onLogged(m *caughtUp) {
	e.catchUp.running = false
	for _, name := range e.cfg.Datasets {
		rec, ok := m.known[name]
		switch {
		case !ok:
		case slices.Contains(m.unknown, name) && m.doubts(rec):
			e.sets[name].later = laterRecord{m, rec, time.Now().Add(headStart)}
		default:
			e.fromLog(e.sets[name], m, rec)
		}
	}
	for _, name := range m.vouched {
		e.sets[name].confirmedBy(m)
	}
	for _, name := range m.unknown {
		e.inquire(e.sets[name], m)
	}
	e.conclude(m)
}

// confirmedBy records that the newest version was known when the catch-up began, unless a beacon contradicts what is served.
func (s *set[T, D]) confirmedBy(m *caughtUp) {
	if s.health.Load().Doubt == "" {
		s.vouched(m.began)
	}
}

// conclude ends the catch-up, if no query of the relays is open.
func (e *Engine[T, D]) conclude(m *caughtUp) {
	if m.open > 0 {
		return
	}
	c := &e.catchUp
	errs := []error{m.logErr}
	for _, name := range e.cfg.Datasets {
		s := e.sets[name]
		own := errors.Join(m.errs[name], s.unfound(m.named[name]))
		errs = append(errs, own)
		own = errors.Join(m.logErr, own)
		s.update(func(h *Health) { h.CatchUpErr = own })
	}
	err := errors.Join(errs...)
	if err == nil {
		c.backoff.Reset()
	} else if c.reason == "" && !c.running {
		c.reason, c.heals, c.retryAt = m.reason, m.heals, time.Now().Add(c.backoff.NextBackOff())
	}
	for _, rec := range m.healed {
		e.deps.Watcher.Healed(rec)
	}
	e.deps.Watcher.CaughtUp(m.reason, err, c.retryAt)
}

func (e *Engine[T, D]) catcher(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-e.asks:
			m := &caughtUp{ask: a, answers: make(map[string][]Answer), errs: make(map[string]error)}
			if err := guard.Try(func() error { e.askLog(ctx, m); return nil }); err != nil {
				m.logErr = err
			}
			select {
			case e.messages <- message[T, D]{logged: m}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// least returns the version that whoever knows the newest must at least know.
func (a ask) least(name string) uint64 { return max(a.served[name], a.named[name]) }

// askLog asks the log for the newest versions, and says which datasets the relays are to be queried about: those that the log knows
// nothing of, or not the version that is served or that a beacon named. The log may have been deleted and made again, or have lost its
// end, and then forgets what the store still has. If the log does not answer, the relays are queried about datasets of which nothing is
// served, or a newer version was named. The others are served, and must not turn an outage of the log into polling.
//
// The log alone proves only that the version which a beacon or a relay named last is still the newest. It may hold the versions of
// a history that a restore of the store ended.
func (e *Engine[T, D]) askLog(ctx context.Context, m *caughtUp) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	var err error
	if m.known, err = e.deps.Log.Latest(ctx, e.cfg.Datasets); err != nil {
		m.logErr = fmt.Errorf("ask the event log: %w", err)
	}
	for _, name := range e.cfg.Datasets {
		rec, ok := m.known[name]
		switch {
		case rec.Version < m.named[name], ok && rec.Version < m.least(name), !ok && (m.logErr == nil || m.served[name] == 0),
			m.needsRelays(name), m.doubts(rec):
			m.unknown = append(m.unknown, name)
		case ok:
			m.vouched = append(m.vouched, name)
		}
	}
}

// doubts reports whether a record of the log may be of a history that a restore of the store ended.
func (m *caughtUp) doubts(rec dataset.VersionRecord) bool {
	return !rec.StoreID.IsZero() && rec.VersionID() != m.affirmed[rec.Dataset]
}

// fromLog takes in a record of the log, unless it is of another store or the relays' answers contradict it.
func (e *Engine[T, D]) fromLog(s *set[T, D], m *caughtUp, rec dataset.VersionRecord) {
	if e.ofOther(rec) {
		e.foreign(s, rec.StoreID, "events in the log")
		return
	}
	newest, knows := e.newestOf(m.answers[rec.Dataset])
	switch {
	case knows && (rec.Version > newest.Version || rec.Version == newest.Version && rec.VersionID() != newest.VersionID() || !s.follows(rec)):
		return // the relays were asked after the log: what their store has decides
	case !knows && m.verify[rec.Dataset] && !s.follows(rec):
		return // the relays are asked again
	}
	e.heal(s, m, rec)
	e.announced(rec)
}

// heal counts a version that became known because a beacon named it.
func (e *Engine[T, D]) heal(s *set[T, D], m *caughtUp, rec dataset.VersionRecord) {
	if m.heals && rec.Version > s.known() && m.named[rec.Dataset] > 0 {
		s.update(func(h *Health) { h.Healed++ })
		m.healed = append(m.healed, rec)
	}
}

// fromRelays takes in what the relays say of a dataset.
func (e *Engine[T, D]) fromRelays(s *set[T, D], m *caughtUp) {
	answers := m.answers[s.name]
	for _, a := range answers {
		if a.Record.Version > 0 && !e.isForeign(a.Store) {
			e.heal(s, m, a.Record)
		}
		if a.Record.Version > 0 && a.Store.IsZero() {
			e.announced(a.Record)
		}
	}
	if e.stored(s, answers, m.began) && e.disagreement == "" {
		s.vouched(m.began)
	}
	if len(answers) == 0 && m.needsRelays(s.name) {
		s.verify = true // the next attempt asks them, too
	}
}

// needsRelays reports whether the relays have to be asked about the dataset although the log has an answer.
func (m *caughtUp) needsRelays(name string) bool { return m.verify[name] || m.first && m.ids[name] }
