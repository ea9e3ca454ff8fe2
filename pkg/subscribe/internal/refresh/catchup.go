package refresh

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/backoff"
	"freshet.dev/pkg/internal/guard"
	"freshet.dev/pkg/internal/oneline"
)

// catchUp schedules catch-ups. A catch-up reads the newest versions from the event log, and queries the relays about datasets for
// which the log does not settle them.
type catchUp struct {
	backoff *backoff.Backoff
	running bool      // the log reader has a request
	reason  string    // why a catch-up is requested; empty if none is
	heals   bool      // only beacons gave a reason
	first   bool      // no catch-up has started yet
	retryAt time.Time // when the backoff ends
}

// catchUpRequest is what one catch-up has to find out.
type catchUpRequest struct {
	reason string
	heals  bool
	began  time.Time
	served map[string]uint64 // by dataset, the served version; 0 for none
	named  map[string]uint64 // by dataset, the version that a beacon named and no event announced
	verify map[string]bool   // the datasets about which the relays must be queried, whatever the log has
	// storeNewest is, by dataset, the newest version that a beacon or a relay of the instance's store named last.
	storeNewest map[string]dataset.VersionID
}

// catchUpRun is a catch-up under way. The log reader writes the fields of the log; the loop uses the run after that.
type catchUpRun struct {
	catchUpRequest
	records   map[string]dataset.VersionRecord // by dataset, the newest record in the log
	toQuery   []string                         // the datasets to query the relays about, in the order of the configuration
	confirmed []string                         // the datasets whose newest version the log proves
	logErr    error

	open    int                     // queries of the relays that have not ended
	answers map[string][]Answer     // by dataset, of the relays
	silent  []string                // relays that are up and did not answer a query
	errs    map[string]error        // by dataset, of the queries
	healed  []dataset.VersionRecord // versions that a beacon named and the catch-up found
}

// requestCatchUp requests a catch-up that begins after the call. One under way does not count: it may have read the log before
// the reason arose.
func (e *Engine[T, D]) requestCatchUp(reason string) {
	e.catchUp.reason, e.catchUp.heals, e.catchUp.retryAt = reason, false, time.Time{}
	e.requestAllPins(time.Now())
}

// requestHealing requests a catch-up because of what a beacon named. If a catch-up is already requested for another reason,
// requestHealing only ends its backoff.
func (e *Engine[T, D]) requestHealing(reason string) {
	c := &e.catchUp
	if c.reason == "" || c.heals {
		c.reason, c.heals = reason, true
	}
	c.retryAt = time.Time{}
}

// verifyWithRelays requests a catch-up that queries the relays about the dataset even if the event log has an answer.
func (e *Engine[T, D]) verifyWithRelays(s *datasetState[T, D], reason string) {
	s.verify = true
	e.requestHealing(reason)
}

// dropNeedlessCatchUp drops a request that only beacons caused, if their versions are known by now. A beacon may overtake the event of
// its version, so a late event often answers the request.
func (e *Engine[T, D]) dropNeedlessCatchUp() {
	c := &e.catchUp
	if c.running || c.reason == "" || !c.heals {
		return
	}
	for _, s := range e.datasets {
		if s.missed() || s.verify {
			return
		}
	}
	c.reason, c.heals, c.retryAt = "", false, time.Time{}
	c.backoff.Reset()
	for _, s := range e.datasets {
		s.updateHealth(func(h *Health) { h.CatchUpErr = nil })
	}
}

// startCatchUp sends the request to the log reader.
func (e *Engine[T, D]) startCatchUp() {
	c := &e.catchUp
	r := catchUpRequest{
		reason: c.reason, heals: c.heals, began: time.Now(),
		served: make(map[string]uint64), named: make(map[string]uint64), verify: make(map[string]bool),
		storeNewest: make(map[string]dataset.VersionID),
	}
	for name, s := range e.datasets {
		r.served[name], r.storeNewest[name] = s.version(), s.storeNewest
		if s.missed() {
			r.named[name] = s.beacons.newest
		}
		switch v := s.served.Load(); {
		case s.missed() && len(s.disowned) > 0:
			s.verify = true // the log cannot bring back a version that was disowned, even if a beacon names it
		case c.first && v != nil && !v.Record.StoreID.IsZero():
			s.verify = true // the stored version may not be in the store's history
		}
		r.verify[name] = s.verify
	}
	c.running, c.reason, c.heals, c.first = true, "", false, false
	e.requests <- r // has space, because no other catch-up is running
}

// readLogs is the log reader: it reads the event log for each request, until ctx ends.
func (e *Engine[T, D]) readLogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-e.requests:
			m := &catchUpRun{catchUpRequest: r, answers: make(map[string][]Answer), errs: make(map[string]error)}
			e.readLog(ctx, m)
			if !e.sendUntil(ctx, message[T, D]{logRead: m}) {
				return
			}
		}
	}
}

// readLog reads the newest versions from the log and lists the datasets about which the relays must be queried:
//
//   - The log has no version, or only one below the served or a named one. A log that was deleted and created again, or that
//     lost its end, does not have versions that the store still has.
//   - The log does not answer, and the dataset has no served version or a newer one was named. An outage of the log must not
//     cause queries of the relays about every dataset.
//   - The request asks for it.
//   - The record may belong to a history that a restore of the store ended. The log alone proves only that the version which a
//     beacon or a relay named last is still the newest.
func (e *Engine[T, D]) readLog(ctx context.Context, m *catchUpRun) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Stall)
	defer cancel()
	err := guard.Try(func() (err error) {
		m.records, err = e.deps.Log.Latest(ctx, e.cfg.Datasets)
		return err
	})
	if err != nil {
		m.logErr = fmt.Errorf("read the event log: %w", err)
	}
	for _, name := range e.cfg.Datasets {
		rec, ok := m.records[name]
		switch {
		case rec.Version < m.named[name], ok && rec.Version < m.expected(name), !ok && (m.logErr == nil || m.served[name] == 0),
			m.verify[name], m.mayHaveEnded(rec):
			m.toQuery = append(m.toQuery, name)
		case ok:
			m.confirmed = append(m.confirmed, name)
		}
	}
}

// expected returns the version that a source of the newest version must at least have.
func (r catchUpRequest) expected(name string) uint64 { return max(r.served[name], r.named[name]) }

// mayHaveEnded reports whether a record of the log may belong to a history that a restore of the store ended.
func (r catchUpRequest) mayHaveEnded(rec dataset.VersionRecord) bool {
	return !rec.StoreID.IsZero() && rec.VersionID() != r.storeNewest[rec.Dataset]
}

// onLogRead accepts the records of the log and starts the queries of the relays. A record that may belong to an ended history
// is deferred until the relays answer.
func (e *Engine[T, D]) onLogRead(m *catchUpRun) {
	e.catchUp.running = false
	for _, name := range e.cfg.Datasets {
		rec, ok := m.records[name]
		switch {
		case !ok:
		case slices.Contains(m.toQuery, name) && m.mayHaveEnded(rec):
			e.datasets[name].deferred = deferredRecord{m, rec, time.Now().Add(headStart)}
		default:
			e.acceptLogRecord(e.datasets[name], m, rec)
		}
	}
	for _, name := range m.confirmed {
		e.datasets[name].confirmByCatchUp(m)
	}
	for _, name := range m.toQuery {
		e.requestQuery(e.datasets[name], m)
	}
	e.endCatchUp(m)
}

// confirmByCatchUp records that the newest version was known when the catch-up began, unless a beacon contradicts the served version.
func (s *datasetState[T, D]) confirmByCatchUp(m *catchUpRun) {
	if s.health.Load().Doubt == "" {
		s.setConfirmed(m.began)
	}
}

// acceptLogRecord accepts a record of the log, unless it belongs to another store or the relays' answers contradict it.
func (e *Engine[T, D]) acceptLogRecord(s *datasetState[T, D], m *catchUpRun, rec dataset.VersionRecord) {
	if e.ofOtherStore(rec) {
		e.ignoreOtherStore(s, rec.StoreID, "events in the log")
		return
	}
	newest, known := e.newestOf(m.answers[rec.Dataset])
	switch {
	case known && (rec.Version > newest.Version || rec.Version == newest.Version && rec.VersionID() != newest.VersionID() || !s.mayFollow(rec)):
		return // the relays answered after the log, and their store decides
	case !known && m.verify[rec.Dataset] && !s.mayFollow(rec):
		return // the relays are queried again
	}
	e.countHealed(s, m, rec)
	e.onRecord(rec)
}

// acceptAnswers accepts the relays' answers about the dataset.
func (e *Engine[T, D]) acceptAnswers(s *datasetState[T, D], m *catchUpRun) {
	answers := m.answers[s.name]
	for _, a := range answers {
		if a.Record.Version > 0 && !e.isOtherStore(a.Store) {
			e.countHealed(s, m, a.Record)
		}
		if a.Record.Version > 0 && a.Store.IsZero() {
			e.onRecord(a.Record)
		}
	}
	if e.compareWithStore(s, answers, m.began) && e.relayWarning == "" {
		s.setConfirmed(m.began)
	}
}

// countHealed counts rec if the catch-up found it because a beacon named it.
func (e *Engine[T, D]) countHealed(s *datasetState[T, D], m *catchUpRun, rec dataset.VersionRecord) {
	if m.heals && rec.Version > s.known() && m.named[rec.Dataset] > 0 {
		s.updateHealth(func(h *Health) { h.Healed++ })
		m.healed = append(m.healed, rec)
	}
}

// endCatchUp ends the catch-up if all its queries have ended. If a part of it failed, endCatchUp schedules the retry.
func (e *Engine[T, D]) endCatchUp(m *catchUpRun) {
	if m.open > 0 {
		return
	}
	c := &e.catchUp
	errs := []error{m.logErr}
	for _, name := range e.cfg.Datasets {
		s := e.datasets[name]
		own := oneline.Join(m.errs[name], s.notFound(m.named[name]))
		errs = append(errs, own)
		own = oneline.Join(m.logErr, own)
		s.updateHealth(func(h *Health) { h.CatchUpErr = own })
	}
	err := oneline.Join(errs...)
	if err == nil {
		c.backoff.Reset()
	} else if c.reason == "" && !c.running {
		c.reason, c.heals, c.retryAt = m.reason, m.heals, time.Now().Add(c.backoff.Next())
	}
	for _, rec := range m.healed {
		e.deps.Watcher.Healed(rec)
	}
	e.deps.Watcher.CaughtUp(m.reason, err, c.retryAt)
}

// notFound returns an error if the record of the version that a beacon named is still unknown.
func (s *datasetState[T, D]) notFound(named uint64) error {
	if named <= s.known() {
		return nil
	}
	return fmt.Errorf("version %d of %s, which a beacon names, is known neither to the event log nor to the relays", named, s.name)
}
