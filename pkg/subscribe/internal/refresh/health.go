package refresh

import (
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
)

// Served is a served version. It is immutable.
type Served[T any] struct {
	Record dataset.VersionRecord
	ID     dataset.VersionID // zero if unknown, as the id of a recovered version may be
	Value  T
	// Kept is the version that Value is of, if Record deletes the dataset and readers keep the value before; nil for every other version.
	Kept *Kept
	// NoValue is true if Record deletes the dataset and there was no value to keep. Value is then not set.
	NoValue bool
	// Damage is why an older version than the newest stored one was recovered; nil for every other version.
	Damage error
	// Stored is true for a version from the local folder, and false for one from a relay.
	Stored bool
	// At is when the version was swapped in.
	At   time.Time
	Pull Pull
	// Duration is the time from the start of the refresh to the swap.
	Duration time.Duration
}

// Ref returns the number and the id of the version.
func (v *Served[T]) Ref() dataset.Ref { return dataset.Ref{Version: v.Record.Version, ID: v.ID} }

// record returns the record of v; nil if v is nil.
func (v *Served[T]) record() *dataset.VersionRecord {
	if v == nil {
		return nil
	}
	return &v.Record
}

// Pull describes how a version was loaded.
type Pull struct {
	// Bytes is how many bytes came over the network.
	Bytes int64
	// Full is true for a version built from a snapshot, and false for one built from the served version.
	Full bool
	// Deltas is how many deltas were applied to either.
	Deltas int
	// Fallback is why the snapshot was pulled instead of the deltas from the served version; nil if it was not.
	Fallback error
}

// Health describes a dataset and its refreshes. It is immutable. Times are by the instance's clock and have a monotonic
// reading.
type Health struct {
	// Newest is the newest version that an event, a catch-up or a beacon named; 0 if there is none.
	Newest uint64
	// Announced is the newest version whose record is known, so that it can be loaded.
	Announced uint64
	// BehindSince is when the first version above the served one became known; zero if there is none.
	BehindSince time.Time

	// Began is when the engine was created. Confirmed is when a beacon or a catch-up last confirmed the newest version; zero if
	// none has.
	Began, Confirmed time.Time
	// Period is the period of the beacons.
	Period time.Duration
	// LongPeriod is a warning that beacons are further apart than BeaconWithin trusts; empty without one.
	LongPeriod string
	// ClockAhead is a warning that the clock of the publisher ClockAheadOf is ahead; empty if no clock is. Without a further beacon
	// of that publisher it holds until ClockAheadUntil.
	ClockAhead, ClockAheadOf string
	ClockAheadUntil          time.Time
	// Denied is why the instance cannot receive beacons; nil if it can.
	Denied error
	// CatchUpErr is why the last catch-up failed; nil if it succeeded.
	CatchUpErr error
	// Diverged is why the served version counts as outside the store's history, since DivergedSince; empty if it does not.
	Diverged      string
	DivergedSince time.Time
	// Quarantined is why the version QuarantinedRef is not loaded, since QuarantinedSince; empty if there is no such version.
	Quarantined      string
	QuarantinedRef   dataset.Ref
	QuarantinedSince time.Time
	// Doubt describes a contradiction of the served version that the relays have not settled yet; empty if there is none.
	Doubt string
	// Conflict describes publishers on copies of one store that contradict each other; empty if there are none.
	Conflict string
	// Regressed describes a publisher that keeps naming versions below the served one; empty if there is none.
	Regressed string

	// Pin is the pin that is followed, since PinnedSince by this instance's clock; nil if there is none. PinServed is true if its version is
	// served, and PinKnown if the record of its version is known. From PinnedUntil, by the publisher's clock, the pin is older than
	// Config.PinFor.
	Pin                 *dataset.Pin
	PinServed, PinKnown bool
	PinnedSince         time.Time
	PinnedUntil         time.Time
	// PinRefused is why the pin of this instance is not followed; empty if it is, or if there is none. PinErr is the error of the last
	// query of the relays about pins, and PinStoreErr that of the last access to the local copy of the pins.
	PinRefused  string
	PinErr      error
	PinStoreErr error

	// Refreshing is true while a worker loads a version, since RefreshingSince. The work after the swap does not count.
	Refreshing      bool
	RefreshingSince time.Time
	// Err is the error of the last attempt; nil if it succeeded.
	Err error
	// Failures counts the failed attempts since the last success.
	Failures int
	// FailingSince is when the first of them failed.
	FailingSince time.Time
	// FinishErr is the error of the last Finish call; nil if it succeeded.
	FinishErr error
	// LastErr is the error of the last failed attempt, at LastErrAt. A success does not clear it.
	LastErr   error
	LastErrAt time.Time
	// Failed counts the failed attempts, Panicked those of them that panicked, and Healed the versions that a beacon named and no
	// event announced.
	Failed, Panicked, Healed uint64

	// State is the state that the Watcher received last, and Since when it began. For the present state call Judge: the
	// loop may hang.
	State fleet.State
	Since time.Time
}
