package refresh

import (
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Served is a version being served. It is immutable.
type Served[T any] struct {
	Record dataset.VersionRecord
	ID     dataset.VersionID // zero if it is unknown, as that of a recovered version may be
	Value  T
	// Damage says why an older version than the newest that was stored had to be recovered; nil for every other version.
	Damage error
	// Stored is true if the version came from the local folder and not from a relay.
	Stored bool
	// At is when the version was swapped in.
	At   time.Time
	Pull Pull
	// Duration is the time from the beginning of the refresh to the swap.
	Duration time.Duration
}

// Ref returns the number and the id of the version.
func (v *Served[T]) Ref() dataset.Ref { return dataset.Ref{Version: v.Record.Version, ID: v.ID} }

// record returns the record of v; nil if v is.
func (v *Served[T]) record() *dataset.VersionRecord {
	if v == nil {
		return nil
	}
	return &v.Record
}

// Pull is how a version came to be there.
type Pull struct {
	// Bytes came over the network.
	Bytes int64
	// Full is true if the version was made from a snapshot, false if from the version that was served.
	Full bool
	// Deltas is how many deltas were applied to either.
	Deltas int
	// GaveUp is why the deltas from the version that was served were given up for the snapshot; nil if they were not.
	GaveUp error
}

// Health is what is known of a dataset and of refreshing it. It is immutable. Times are by the instance's clock and have a
// monotonic reading.
type Health struct {
	// Newest is the newest version known of, by an event, a catch-up or a beacon; 0 if none is.
	Newest uint64
	// Announced is the newest version whose record is known, so that it can be brought up.
	Announced uint64
	// BehindSince is when the first version became known that is newer than the one served; zero if there is none.
	BehindSince time.Time

	// Began is when the engine was made, Vouched when something last said what the newest version is; zero if nothing has.
	Began, Vouched time.Time
	// Period is that of the beacon.
	Period time.Duration
	// LongPeriod says that the beacon's own period is longer than it is trusted for; empty if it is not.
	LongPeriod string
	// ClockAhead says how far the clock of a publisher is ahead, ClockAheadOf of which, and ClockAheadUntil until when that holds
	// if no further beacon comes from it; empty if no clock is known to be ahead.
	ClockAhead, ClockAheadOf string
	ClockAheadUntil          time.Time
	// Denied is why no beacon can be heard; nil if one can.
	Denied error
	// CatchUpErr is why the last catch-up failed; nil if it did not.
	CatchUpErr error
	// Diverged says that what is served is not in the store's history, since DivergedSince; empty if it is.
	Diverged      string
	DivergedSince time.Time
	// Quarantined says that the version QuarantinedRef is not loaded because processes died of it, since QuarantinedSince; empty if
	// none is kept from being served.
	Quarantined      string
	QuarantinedRef   dataset.Ref
	QuarantinedSince time.Time
	// Doubt says that a beacon contradicts what is served, and that the relays have not settled it yet; empty if none does.
	Doubt string
	// Conflict says that publishers on copies of one store contradict each other; empty if none do.
	Conflict string
	// Regressed says which publisher names older versions again and again; empty if none does.
	Regressed string

	// Refreshing is true while a lane brings up a version, since RefreshingSince. What it does after the swap does not count.
	Refreshing      bool
	RefreshingSince time.Time
	// Err is the error of the last attempt; nil if it succeeded.
	Err error
	// Failures counts the attempts that failed since the last success.
	Failures int
	// FailingSince is when the first of them failed.
	FailingSince time.Time
	// FinishErr is why what remained to be done after the last swap failed.
	FinishErr error
	// LastErr is the error of the last attempt that failed, at LastErrAt, also after a success.
	LastErr   error
	LastErrAt time.Time
	// Failed counts the attempts that failed, Panicked those among them that panicked, and Healed the versions of which a
	// beacon told and no event.
	Failed, Panicked, Healed uint64

	// State is the one that the Watcher was told last, and Since when the dataset came into it. What it is in now is for
	// Judge to say: the loop may hang.
	State fleet.State
	Since time.Time
}
