package refresh

import (
	"time"

	"freshet.dev/pkg/fleet"
)

// reportStates reports every change of a dataset's state to the Watcher. It returns when the next state may change by time alone.
func (e *Engine[T, D]) reportStates(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, name := range e.cfg.Datasets {
		s := e.datasets[name]
		h, rec := s.health.Load(), s.served.Load().record()
		_, wall := e.clocks()
		j := h.Judge(rec, now, wall)
		if j.Left > 0 {
			next = earlier(next, now.Add(j.Left))
		}
		if j.State == h.State {
			continue
		}
		c := Change{
			Dataset: name, Was: h.State, Now: j.State, Since: j.Since, Why: h.Why(j.State, rec),
			Version: versionOf(rec), Newest: h.Newest, Usual: s.routine(j.State),
		}
		if j.State != fleet.Refreshing && !c.Usual {
			s.settled = j.State
		}
		s.updateHealth(func(h *Health) { h.State, h.Since = j.State, j.Since })
		e.deps.Watcher.Changed(c)
	}
	return next
}

// reportPassed reports the states that began by time alone if changeAt has passed. The loop calls it before a message that may end
// such a state: a status request may have shown the state already, so the Watcher must receive it too.
func (e *Engine[T, D]) reportPassed(changeAt time.Time) {
	if now := time.Now(); !now.Before(changeAt) {
		e.reportStates(now)
	}
}

// routine reports whether every refresh of a fresh dataset changes to the state.
func (s *datasetState[T, D]) routine(now fleet.State) bool {
	return s.settled == fleet.Fresh && (now == fleet.Refreshing || now == fleet.Fresh || now == fleet.Lagging && s.queued)
}
