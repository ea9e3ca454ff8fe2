package subscribe

import (
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/bootguard"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// bootID returns the id of the machine's boot. Tests replace it.
var bootID = bootguard.BootID

// Confirm reports that the service works with the version rec, such as [Swap].Record or the result of [Dataset.Version]. The
// version is then never quarantined: later deaths of the process do not count for it, even before [Config].ConfirmAfter.
// Confirm does nothing for a version that is confirmed or not served, or without a cache folder.
//
// The error is an [ErrUnknownDataset], or says that boot.json in the cache folder cannot be written, or is not synced within a second.
// After a slow sync the version is confirmed, but a power failure may lose the confirmation.
func (s *Subscriber) Confirm(rec dataset.VersionRecord) error {
	if s.datasets[rec.Dataset] == nil {
		return fmt.Errorf("confirm version %d: %w", rec.Version, s.unknown(rec.Dataset))
	}
	if err := s.guard.Confirm(rec); err != nil {
		return fmt.Errorf("confirm version %s: %w", rec.ID(), err)
	}
	return nil
}

// Stopping reports that the process is about to end on purpose, so that its end counts for no version, however it ends. Close does
// so too. Call Stopping earlier if Close comes late, for example after requests have been drained. Versions that arrive after
// it are not guarded.
func (s *Subscriber) Stopping() {
	if err := s.guard.Stop(); err != nil {
		s.cfg.Log.Warn("the end of this process will count as a death of the version that it serves", "dir", s.cfg.CacheDir, "error", err)
	}
}

// died logs a death of an earlier process that counts for a version.
func (s *Subscriber) died(name string, d cachedir.Deaths) {
	s.cfg.Log.Warn("the process before died with a version that was not confirmed", "dataset", name, "version", d.Version,
		"id", d.ID.String(), "deaths", d.Count)
}
