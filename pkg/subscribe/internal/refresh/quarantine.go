package refresh

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// Barred is a version that must not be loaded, because processes died of it.
type Barred struct {
	Ref dataset.Ref
	// Why says that, and what to do.
	Why string
}

// quarantine reads which versions are barred, once the stored version was loaded. The newest of them above the served version is kept
// from being served until the log, a beacon or a relay says what the newest version is.
func (e *Engine[T, D]) quarantine(s *set[T, D]) {
	if e.deps.Barred == nil {
		return
	}
	s.barred = e.deps.Barred(s.name)
	for _, b := range s.barred {
		if b.Ref.Version > max(s.version(), s.kept.Ref.Version) {
			s.kept = b
		}
	}
	if s.target.Version > s.version() || s.move != nil {
		s.aim(s.target)
	}
	s.learn(s.kept.Ref.Version)
}

// aim makes rec the target; the zero record for none.
func (s *set[T, D]) aim(rec dataset.VersionRecord) {
	s.target, s.kept, s.blocked = rec, Barred{}, false
	if rec.Version == 0 || len(s.barred) == 0 {
		return
	}
	for _, b := range s.barred {
		if b.Ref == rec.Ref() {
			s.kept, s.blocked = b, true
		}
	}
}

// questions says how w, a word of the instance's store, questions that a quarantined target is the newest version; empty if it does
// not. The relays settle that.
func (s *set[T, D]) questions(w events.Word) string {
	if !s.blocked || w.Store.IsZero() {
		return ""
	}
	named, target := dataset.Ref{Version: w.Version, ID: w.ID}, s.target.Ref()
	if named.Version > target.Version || named.ID.IsZero() || named == target {
		return ""
	}
	return fmt.Sprintf("a beacon of %s names version %s of %s, and the quarantined version is %s", w.Publisher, named, s.name, target)
}

// forgive ends the failure of an earlier target: the present one is quarantined, so that nothing is tried again.
func (s *set[T, D]) forgive() {
	s.failedAt, s.retryAt = time.Time{}, time.Time{}
	s.backoff.Reset()
	s.update(func(h *Health) { h.Err, h.Failures, h.FailingSince = nil, 0, time.Time{} })
}
