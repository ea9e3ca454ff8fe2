package subscribe

import (
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// bootID returns the id of the machine's boot. Tests replace it.
var bootID = bootguard.BootID

// Confirm says that the service lives with the version rec, such as Swap.Record or what Version returns, so that a later death of
// the process is not the version's fault: it is never quarantined. The version need not be served for [Config].ConfirmAfter then.
// Nothing happens if rec is not on probation: if it is confirmed, not served, or if there is no cache folder.
//
// It fails with [ErrUnknownDataset], or if boot.json in the cache folder cannot be written.
func (s *Subscriber) Confirm(rec dataset.VersionRecord) error {
	if s.datasets[rec.Dataset] == nil {
		return fmt.Errorf("confirm version %d: %w", rec.Version, s.unknown(rec.Dataset))
	}
	if err := s.guard.Confirm(rec); err != nil {
		return fmt.Errorf("confirm version %s: %w", rec.ID(), err)
	}
	return nil
}

// Stopping says that the process is about to end on purpose, so that its end is not the fault of a version, whatever ends it. Close
// does so too: call Stopping earlier where Close comes late, such as after requests have been drained. Versions that come after it
// are not guarded.
func (s *Subscriber) Stopping() {
	if err := s.guard.Stop(); err != nil {
		s.cfg.Log.Warn("the end of this process will count as a death of the version that it serves", "dir", s.cfg.CacheDir, "error", err)
	}
}

// died logs a death of an earlier process that counts.
func (s *Subscriber) died(name string, d cachedir.Deaths) {
	s.cfg.Log.Warn("the process before died while it tried a version, before that was confirmed", "dataset", name, "version", d.Version,
		"id", d.ID.String(), "deaths", d.Count)
}
