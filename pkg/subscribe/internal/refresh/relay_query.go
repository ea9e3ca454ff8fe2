package refresh

import (
	"context"
	"fmt"
	"slices"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/guard"
)

const (
	// maxQueries bounds the concurrent queries of the relays, one for each dataset, so that pulls get most connections. When more
	// queries than that are slow, as many others as slow ones may run.
	maxQueries = 4
	// slowQueryAfter is when a query no longer counts against maxQueries. Relays that hang on one dataset must not delay queries
	// about others.
	slowQueryAfter = 500 * time.Millisecond
	// maxOpenQueries bounds the queries in flight, including the slow ones.
	maxOpenQueries = 32
	// queryHangsAfter is when a query counts as hanging. At maxOpenQueries, it is cancelled in favor of a dataset whose last query did
	// not hang. It is longer than a query waits for a slow relay after another has answered for the instance's store (see
	// pull.Client.LatestOfAll), because a cancelled query loses its answers.
	queryHangsAfter = 2 * time.Second
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
	dataset   *datasetState[T, D]
	m         *catchUpRun
	began     time.Time
	own       dataset.StoreID // the instance's store when the query began
	verify    bool            // a catch-up must query the relays again if none answers this query
	cancel    context.CancelFunc
	cancelled bool // to make room; only the loop uses it
	answers   []Answer
	silent    []string
	err       error
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

// startQueries starts queries of queryQueue up to the limits. Datasets whose last query hung stand behind the others. It returns when a slow
// query will make room for another, or next if that is earlier.
func (e *Engine[T, D]) startQueries(now, next time.Time) time.Time {
	counted := 0 // queries that are not slow
	for _, q := range e.queries {
		if slow := q.began.Add(slowQueryAfter); slow.After(now) {
			counted++
			next = earlier(next, slow)
		}
	}
	waiting := 0 // datasets whose last query did not hang
	for _, s := range e.queryQueue {
		if !s.queryHung {
			waiting++
		}
	}
	for _, hung := range []bool{false, true} {
		for i := 0; i < len(e.queryQueue) && counted < max(maxQueries, len(e.queries)-counted); {
			s := e.queryQueue[i]
			if s.queryHung != hung || slices.ContainsFunc(e.queries, func(q *relayQuery[T, D]) bool { return q.dataset == s }) {
				i++ // a query in flight began before the catch-up
				continue
			}
			if len(e.queries) >= maxOpenQueries {
				if !hung {
					next = e.cancelOldestQuery(now, next, waiting)
				}
				break
			}
			e.queryQueue = slices.Delete(e.queryQueue, i, i+1)
			e.startQuery(s, now)
			counted++
			next = earlier(next, now.Add(slowQueryAfter))
		}
	}
	return next
}

func (e *Engine[T, D]) startQuery(s *datasetState[T, D], now time.Time) {
	q := &relayQuery[T, D]{dataset: s, m: s.queryFor, began: now, own: e.Store().ID, verify: s.verify}
	if s.queryFor, s.verify = nil, false; q.verify && s.pins.held != nil {
		e.requestPins(s) // the store may have been restored, and lack the pinned version
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.Stall)
	q.cancel = cancel
	e.queries = append(e.queries, q)
	e.queryWorkers.Go(func() { e.query(ctx, q) })
}

// cancelOldestQuery cancels the oldest query if it hangs. The query makes room when it returns, so no more than maxQueries are cancelled at
// a time, nor more than datasets are waiting. cancelOldestQuery returns when the oldest will hang, or next if that is earlier.
func (e *Engine[T, D]) cancelOldestQuery(now, next time.Time, waiting int) time.Time {
	oldest := slices.IndexFunc(e.queries, func(q *relayQuery[T, D]) bool { return !q.cancelled }) // those before it are cancelled
	if oldest < 0 || oldest >= min(maxQueries, waiting) {
		return next
	}
	q := e.queries[oldest]
	if hangs := q.began.Add(queryHangsAfter); hangs.After(now) {
		return earlier(next, hangs)
	}
	q.cancelled = true
	q.cancel()
	return next
}

// query queries the relays.
func (e *Engine[T, D]) query(ctx context.Context, q *relayQuery[T, D]) {
	defer q.cancel()
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
	s.queryHung = len(q.answers) == 0 && time.Since(q.began) >= queryHangsAfter
	if q.cancelled && q.err != nil {
		q.err = fmt.Errorf("the relays did not answer about %s within %s, and other datasets waited: %w", s.name, queryHangsAfter, q.err)
	}
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
