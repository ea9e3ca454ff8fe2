package refresh

import (
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
)

// Barred is a version that must not be loaded, because processes died of it.
type Barred struct {
	Ref dataset.Ref
	// Why says so, and what to do.
	Why string
}

// readBarred reads which versions are barred, after the stored version was loaded. The newest barred version above the served one is
// quarantined until the log, a beacon or a relay names the newest version.
func (e *Engine[T, D]) readBarred(s *datasetState[T, D]) {
	if e.deps.Barred == nil {
		return
	}
	s.barred = e.deps.Barred(s.name)
	for _, b := range s.barred {
		if b.Ref.Version > max(s.version(), s.quarantined.Ref.Version) {
			s.quarantined = b
		}
	}
	if s.target.Version > s.version() || s.replacement != nil {
		s.setTarget(s.target)
	}
	s.noteVersion(s.quarantined.Ref.Version)
}

// setTarget makes rec the target; the zero record means none.
func (s *datasetState[T, D]) setTarget(rec dataset.VersionRecord) {
	s.target, s.quarantined, s.targetBarred = rec, Barred{}, false
	if rec.Version == 0 || len(s.barred) == 0 {
		return
	}
	for _, b := range s.barred {
		if b.Ref == rec.Ref() {
			s.quarantined, s.targetBarred = b, true
		}
	}
}

// questionsQuarantine returns why the beacon r of the instance's store puts in doubt that a barred target is the newest version, for the
// relays to settle; empty if it does not.
func (s *datasetState[T, D]) questionsQuarantine(r events.Report) string {
	if !s.targetBarred || r.Store.IsZero() {
		return ""
	}
	named, target := dataset.Ref{Version: r.Version, ID: r.ID}, s.target.Ref()
	if named.Version > target.Version || named.ID.IsZero() || named == target {
		return ""
	}
	return fmt.Sprintf("a beacon of %s names version %s of %s, and the quarantined version is %s", r.Publisher, named, s.name, target)
}
