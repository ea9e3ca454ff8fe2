package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sourcegraph/conc/pool"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

// relayAsks is how many datasets the relays are asked about at a time: enough that one slow answer does not hold up
// the rest, few beside the connections that pulls need.
const relayAsks = 4

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

// caughtUp is what the catcher found.
type caughtUp struct {
	ask
	records []dataset.VersionRecord // from the log
	answers map[string][]Answer     // of the relays
	healed  []dataset.VersionRecord // that a beacon led to
	// vouched are the datasets whose newest version it learned, also if that is none.
	vouched []string
	err     error
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

func (e *Engine[T, D]) onCaughtUp(m *caughtUp) {
	c := &e.catchUp
	c.running = false
	e.settleStore(m.answers)
	for _, rec := range m.records {
		if s := e.sets[rec.Dataset]; s != nil {
			e.fromLog(s, m, rec)
		}
	}
	for _, name := range m.vouched {
		if h := e.sets[name].health.Load(); h.Doubt == "" {
			e.sets[name].vouched(m.began)
		}
	}
	for _, name := range e.cfg.Datasets {
		e.fromRelays(e.sets[name], m)
	}
	err := errors.Join(m.err, e.unfound(m.named))
	for _, s := range e.sets {
		s.update(func(h *Health) { h.CatchUpErr = err })
	}
	if err == nil {
		c.backoff.Reset()
	} else if c.reason == "" {
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
			m := &caughtUp{ask: a, answers: make(map[string][]Answer)}
			m.err = guard.Try(func() error { return e.newest(ctx, m) })
			select {
			case e.messages <- message[T, D]{caughtUp: m}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// least returns the version that whoever knows the newest must at least know.
func (a ask) least(name string) uint64 { return max(a.served[name], a.named[name]) }

// newest asks the log for the newest versions, and the relays about the datasets that the log knows nothing of, or not the
// version that is served or that a beacon named: it may have been deleted and made anew, or have lost its end, and then
// forgets what the store still has. If the log does not answer, the relays are asked about datasets of which nothing is
// served, or a newer version was named. The others are served, and must not turn an outage of the log into polling.
//
// The log alone proves only that the version which a beacon or a relay named last is still the newest. It may hold the versions of
// a history that a restore of the store ended.
func (e *Engine[T, D]) newest(ctx context.Context, m *caughtUp) error {
	logCtx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	known, logErr := e.deps.Log.Latest(logCtx, e.cfg.Datasets)
	if logErr != nil {
		logErr = fmt.Errorf("ask the event log: %w", logErr)
	}
	var unknown []string
	for _, name := range e.cfg.Datasets {
		rec, ok := known[name]
		if ok {
			m.records = append(m.records, rec)
		}
		switch {
		case rec.Version < m.named[name], ok && rec.Version < m.least(name), !ok && (logErr == nil || m.served[name] == 0),
			m.needsRelays(name), !rec.StoreID.IsZero() && rec.VersionID() != m.affirmed[name]:
			unknown = append(unknown, name)
		case ok:
			m.vouched = append(m.vouched, name)
		}
	}

	relayCtx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	var mu sync.Mutex // guards m and errs
	errs := []error{logErr}
	asks := pool.New().WithMaxGoroutines(relayAsks)
	for _, name := range unknown {
		asks.Go(func() {
			answers, err := e.deps.Relays.Latest(relayCtx, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			m.answers[name] = answers
			for _, a := range answers {
				// A relay that names its store is judged by the loop, with what beacons say.
				if a.Store.IsZero() && a.Record.Version >= m.least(name) {
					m.vouched = append(m.vouched, name)
				}
			}
		})
	}
	asks.Wait()
	return errors.Join(errs...)
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
