package refresh

import (
	"context"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

const (
	// maxQueries bounds the concurrent queries of the relays, one for each dataset, so that pulls get most connections.
	maxQueries = 4
	// slowQueryAfter is when a query no longer counts against maxQueries. Relays that hang on one dataset must not delay queries
	// about others.
	slowQueryAfter = 500 * time.Millisecond
	// maxOpenQueries bounds the queries in flight, including the slow ones.
	maxOpenQueries = 32
	// headStart is how long a record of the log that may belong to an ended history waits for the relays.
	headStart = 500 * time.Millisecond
)

// deferredRecord is a record of the log that waits for an answer of the relays until at.
type deferredRecord struct {
	m   *catchUpRun // nil if there is no record
	rec dataset.VersionRecord
	at  time.Time
}

// relayQuery is a query of the relays about one dataset, for a catch-up.
type relayQuery[T, D any] struct {
	dataset *datasetState[T, D]
	m       *catchUpRun
	began   time.Time
	own     dataset.StoreID // the instance's store when the query began
	verify  bool            // a catch-up must query the relays again if none answers this query
	answers []Answer
	silent  []string
	err     error
}

// requestQuery requests a query of the relays for the catch-up. If an earlier catch-up waits for a query to start, that one ends
// without it.
func (e *Engine[T, D]) requestQuery(s *datasetState[T, D], m *catchUpRun) {
	if previous := s.queryFor; previous != nil {
		previous.open--
		defer e.endCatchUp(previous)
	} else {
		e.queryQueue = append(e.queryQueue, s)
	}
	s.queryFor = m
	m.open++
}

// startQueries starts queries of queryQueue up to the limits. It returns when a slow query will make room for another, or next if that is
// earlier.
func (e *Engine[T, D]) startQueries(now, next time.Time) time.Time {
	counted := 0
	for _, q := range e.queries {
		if slow := q.began.Add(slowQueryAfter); slow.After(now) {
			counted++
			next = earlier(next, slow)
		}
	}
	for i := 0; i < len(e.queryQueue) && counted < maxQueries && len(e.queries) < maxOpenQueries; {
		s := e.queryQueue[i]
		if slices.ContainsFunc(e.queries, func(q *relayQuery[T, D]) bool { return q.dataset == s }) {
			i++ // the query in flight began before the catch-up
			continue
		}
		q := &relayQuery[T, D]{dataset: s, m: s.queryFor, began: now, own: e.Store().ID, verify: s.verify}
		s.queryFor, s.verify = nil, false
		e.queryQueue = slices.Delete(e.queryQueue, i, i+1)
		e.queries = append(e.queries, q)
		counted++
		next = earlier(next, now.Add(slowQueryAfter))
		e.queryWorkers.Go(func() { e.query(q) })
	}
	return next
}

// query queries the relays.
func (e *Engine[T, D]) query(q *relayQuery[T, D]) {
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.Stall)
	defer cancel()
	q.err = guard.Try(func() (err error) {
		q.answers, q.silent, err = e.deps.Relays.Latest(ctx, q.dataset.name, q.own)
		return err
	})
	e.send(message[T, D]{queried: q})
}

// onQueried accepts the relays' answers about a dataset, and the log's record that waited for them.
func (e *Engine[T, D]) onQueried(q *relayQuery[T, D]) {
	e.queries = slices.DeleteFunc(e.queries, func(o *relayQuery[T, D]) bool { return o == q })
	s, m := q.dataset, q.m
	s.verify = s.verify || q.verify && len(q.answers) == 0
	m.open--
	defer e.endCatchUp(m)
	if q.err != nil {
		m.errs[s.name] = q.err
	} else {
		m.answers[s.name] = q.answers
	}
	m.silent = append(m.silent, q.silent...)
	if e.settleStore(m) {
		defer func() { // the earlier answers were handled as those of another store
			for name := range m.answers {
				if name != s.name {
					e.acceptAnswers(e.datasets[name], m)
				}
			}
		}()
	}
	if d := s.deferred; d.m == m {
		s.deferred = deferredRecord{}
		e.acceptLogRecord(s, m, d.rec)
	}
	for _, a := range q.answers {
		// acceptAnswers judges a relay that names its store, with what beacons name.
		if a.Store.IsZero() && a.Record.Version >= m.expected(s.name) {
			s.confirmByCatchUp(m)
		}
	}
	e.acceptAnswers(s, m)
}

// applyDeferred accepts deferred records for which the relays have not answered in time. It returns when the next one is due, or next if
// that is earlier.
func (e *Engine[T, D]) applyDeferred(now, next time.Time) time.Time {
	for _, name := range e.cfg.Datasets {
		s := e.datasets[name]
		switch d := s.deferred; {
		case d.m == nil:
		case d.at.After(now):
			next = earlier(next, d.at)
		default:
			s.deferred = deferredRecord{}
			e.acceptLogRecord(s, d.m, d.rec)
		}
	}
	return next
}
