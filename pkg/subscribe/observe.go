package subscribe

import (
	"fmt"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/guard"
)

// Observer is told what happens, so that it can be counted. Any of its functions may be nil. They are called on the
// goroutine that refreshes everything, so they must return at once; a panic in one is logged and goes no further.
type Observer struct {
	// Swapped: a version is served from now on.
	Swapped func(Refresh)
	// Failed: an attempt to refresh failed; the version before, if any, is served on.
	Failed func(dataset string, version uint64, err error)
	// CaughtUp: the event log was asked for the newest versions, and why; err is nil if it could be.
	CaughtUp func(reason string, err error)
	// CacheFailed: the cache folder could not be read or written. Serving goes on.
	CacheFailed func(dataset string, err error)
	// CallbackFailed: a function given to OnSwap panicked.
	CallbackFailed func(dataset string, err error)
	// StateChanged: a dataset is in the state now since the time given, and was in another before.
	StateChanged func(dataset string, was, now fleet.State, since time.Time)
	// Healed: the instance has learned of a version because a beacon named one of which no event came.
	Healed func(dataset string, version uint64)
	// Restarted: the supervised goroutine panicked and goes on.
	Restarted func(err error)
}

// Refresh is what a swap cost and brought.
type Refresh struct {
	// Record and ID are as in a [Swap].
	Record dataset.VersionRecord
	ID     dataset.VersionID
	// From says whether the version was pulled or read from the cache folder.
	From fleet.Origin
	// Records is the number of records, Bytes the resident size of the table.
	Records int
	Bytes   int64
	// PulledBytes is what came over the network.
	PulledBytes int64
	// Full is true if the version was made from a snapshot, false if from the version that was served before. Deltas is
	// how many deltas were applied to either.
	Full   bool
	Deltas int
	// GaveUp is why the deltas from the version before were given up for the snapshot; nil if they were not.
	GaveUp error
	// Duration is from the begin of the refresh to the swap.
	Duration time.Duration
}

// observe calls f, which calls one of the Observer's functions about the version of the dataset; name is empty if it is
// about the whole instance.
func (s *Subscriber) observe(name string, version uint64, f func()) {
	err := guard.Try(func() error { f(); return nil })
	if err == nil {
		return
	}
	err = fmt.Errorf("a function of the Observer panicked: %w", err)
	s.cfg.Log.Error("a function of the Observer panicked", "dataset", name, "version", version, "error", err, "stack", guard.Stack(err))
	names := []string{name}
	if name == "" {
		names = s.cfg.Datasets
	}
	for _, name := range names {
		s.reportFailure(name, version, err)
	}
}
