package refresh

import (
	"time"

	"freshet.dev/pkg/dataset"
)

// Served is a version being served. It is immutable.
type Served[T any] struct {
	Record dataset.VersionRecord
	Value  T
	// Stored is true if the version came from the local folder and not from a relay.
	Stored bool
	// At is when the version was swapped in.
	At   time.Time
	Pull Pull
	// Duration is the time from the beginning of the refresh to the swap.
	Duration time.Duration
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

// Health is how refreshing a dataset goes. It is immutable.
type Health struct {
	// Newest is the newest version announced; 0 if none was.
	Newest uint64
	// Refreshing is true while a lane works on the dataset.
	Refreshing bool
	// Err is the error of the last attempt; nil if it succeeded.
	Err error
	// Failures counts the attempts that failed since the last success.
	Failures int
	// FailingSince is when the first of them failed.
	FailingSince time.Time
	// FinishErr is why what remained to be done after the last swap failed.
	FinishErr error
}
