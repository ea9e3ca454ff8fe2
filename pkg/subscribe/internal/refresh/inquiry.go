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
	// relayAsks is how many datasets the relays are queried about at a time: few beside the connections that pulls need.
	relayAsks = 4
	// slowAsk is how long a query takes until it does not count among relayAsks any more: relays that hang on one dataset must not hold
	// up queries about the others.
	slowAsk = 500 * time.Millisecond
	// maxAsks bounds the queries under way, with slow ones.
	maxAsks = 32
	// headStart is how long a record of the log waits for the relays, if it may be of a history that a restore of the store ended.
	headStart = 500 * time.Millisecond
)

// laterRecord is a record of the log that waits until at for an answer of the relays.
type laterRecord struct {
	m   *caughtUp // nil if there is none
	rec dataset.VersionRecord
	at  time.Time
}

// inquiry is a query of the relays about one dataset, for a catch-up.
type inquiry[T, D any] struct {
	set     *set[T, D]
	m       *caughtUp
	began   time.Time
	own     dataset.StoreID // the instance's store at that time
	answers []Answer
	silent  []string
	err     error
}

// inquire has the relays queried about the dataset for the catch-up. A query that waits for an earlier catch-up is made for this one.
func (e *Engine[T, D]) inquire(s *set[T, D], m *caughtUp) {
	if was := s.inquires; was != nil {
		was.open--
		defer e.conclude(was)
	} else {
		e.asking = append(e.asking, s)
	}
	s.inquires = m
	m.open++
}

// startInquiries starts the queries that are wanted, as far as there is room, and returns when there may be more.
func (e *Engine[T, D]) startInquiries(now, next time.Time) time.Time {
	young := 0
	for _, q := range e.inquiries {
		if old := q.began.Add(slowAsk); old.After(now) {
			young++
			next = earlier(next, old)
		}
	}
	for i := 0; i < len(e.asking) && young < relayAsks && len(e.inquiries) < maxAsks; {
		s := e.asking[i]
		if slices.ContainsFunc(e.inquiries, func(q *inquiry[T, D]) bool { return q.set == s }) {
			i++ // the one under way began before the catch-up
			continue
		}
		q := &inquiry[T, D]{set: s, m: s.inquires, began: now, own: e.Store().ID}
		s.inquires = nil
		e.asking = slices.Delete(e.asking, i, i+1)
		e.inquiries = append(e.inquiries, q)
		young++
		next = earlier(next, now.Add(slowAsk))
		e.inquirers.Go(func() { e.query(q) })
	}
	return next
}

// query queries the relays.
func (e *Engine[T, D]) query(q *inquiry[T, D]) {
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.Stall)
	defer cancel()
	q.err = guard.Try(func() (err error) {
		q.answers, q.silent, err = e.deps.Relays.Latest(ctx, q.set.name, q.own)
		return err
	})
	e.tell(message[T, D]{inquired: q})
}

// onInquired takes in what the relays say of a dataset, and what the log said.
func (e *Engine[T, D]) onInquired(q *inquiry[T, D]) {
	e.inquiries = slices.DeleteFunc(e.inquiries, func(o *inquiry[T, D]) bool { return o == q })
	s, m := q.set, q.m
	m.open--
	defer e.conclude(m)
	if q.err != nil {
		m.errs[s.name] = q.err
	} else {
		m.answers[s.name] = q.answers
	}
	m.silent = append(m.silent, q.silent...)
	if e.settleStore(m) {
		defer func() {
			for name := range m.answers { // the earlier answers were of another store
				if name != s.name {
					e.fromRelays(e.sets[name], m)
				}
			}
		}()
	}
	if later := s.later; later.m == m {
		s.later = laterRecord{}
		e.fromLog(s, m, later.rec)
	}
	for _, a := range q.answers {
		// A relay that names its store is judged below, with what beacons say.
		if a.Store.IsZero() && a.Record.Version >= m.least(s.name) {
			s.confirmedBy(m)
		}
	}
	e.fromRelays(s, m)
}

// takeLater takes in the records of the log for which the relays have not answered in time, and returns when there is another.
func (e *Engine[T, D]) takeLater(now, next time.Time) time.Time {
	for _, name := range e.cfg.Datasets {
		s := e.sets[name]
		switch later := s.later; {
		case later.m == nil:
		case later.at.After(now):
			next = earlier(next, later.at)
		default:
			s.later = laterRecord{}
			e.fromLog(s, later.m, later.rec)
		}
	}
	return next
}

// unfound says that the named version is still not known.
func (s *set[T, D]) unfound(named uint64) error {
	if named <= s.known() {
		return nil
	}
	return fmt.Errorf("version %d of %s, which a beacon names, is known neither to the event log nor to the relays", named, s.name)
}
