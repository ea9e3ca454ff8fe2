package refresh

import (
	"time"

	"freshet.dev/pkg/fleet"
)

// judge tells the Watcher of every dataset that has come into another state, and returns when another may come into one
// by time alone.
func (e *Engine[T, D]) judge(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, name := range e.cfg.Datasets {
		s := e.sets[name]
		h, rec := s.health.Load(), s.served.Load().record()
		j := h.Judge(rec, now, e.wall())
		if j.Left > 0 {
			next = earlier(next, now.Add(j.Left))
		}
		if j.State == h.State {
			continue
		}
		c := Change{
			Dataset: name, Was: h.State, Now: j.State, Since: j.Since, Why: h.Why(j.State, rec),
			Version: versionOf(rec), Newest: h.Newest, Usual: s.usual(j.State),
		}
		if j.State != fleet.Refreshing && !c.Usual {
			s.settled = j.State
		}
		s.update(func(h *Health) { h.State, h.Since = j.State, j.Since })
		e.deps.Watcher.Changed(c)
	}
	return next
}

// usual reports whether coming into the state is what every refresh of a fresh dataset brings.
func (s *set[T, D]) usual(now fleet.State) bool {
	return s.settled == fleet.Fresh && (now == fleet.Refreshing || now == fleet.Fresh || now == fleet.Lagging && s.queued)
}
