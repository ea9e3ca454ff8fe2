package pull

import (
	"maps"
	"sync"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/relays"
)

// maxSuspects limits the objects that suspects keeps for each relay, and the damaged objects that it keeps.
const maxSuspects = 64

// suspects holds the objects of which relays sent wrong bytes, to tell damage in a relay from damage in its store.
type suspects struct {
	mu sync.Mutex
	// refused holds when each relay sent wrong bytes of which objects, except for the damaged objects. Guarded by mu.
	refused map[*relays.Relay]map[dataset.Digest]time.Time
	// damaged holds the objects that a relay reported as damaged in its store. They are requested with Cache-Control:
	// no-cache, so that the relay reports the damage again, or reads the object again once it is healed. Guarded by mu.
	damaged map[dataset.Digest]bool
}

// addRefused records that r sent wrong bytes of the object.
func (s *suspects) addRefused(r *relays.Relay, digest dataset.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = make(map[*relays.Relay]map[dataset.Digest]time.Time)
	}
	if s.refused[r] == nil || len(s.refused[r]) >= maxSuspects {
		s.refused[r] = make(map[dataset.Digest]time.Time)
	}
	s.refused[r][digest] = time.Now()
}

// addDamaged records that r reports with err that the object is damaged in its store. The distrust of r ends if it is
// distrusted for damaged objects only.
func (s *suspects) addDamaged(c *Client, r *relays.Relay, digest dataset.Digest, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.damaged) >= maxSuspects || s.damaged == nil {
		s.damaged = make(map[dataset.Digest]bool)
	}
	s.damaged[digest] = true
	if _, ok := s.refused[r][digest]; !ok {
		return
	}
	delete(s.refused[r], digest)
	maps.DeleteFunc(s.refused[r], func(_ dataset.Digest, at time.Time) bool { return time.Since(at) >= c.cfg.Distrust })
	if len(s.refused[r]) == 0 {
		c.relays.EndDistrust(r, err)
	}
}

// clearDamaged records that a relay sends the object, read past its cache.
func (s *suspects) clearDamaged(digest dataset.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.damaged, digest)
}

// isDamaged reports whether the object is recorded as damaged in the store.
func (s *suspects) isDamaged(digest dataset.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged[digest]
}
