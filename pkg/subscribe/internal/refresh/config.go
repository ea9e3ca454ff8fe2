package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
)

var (
	// ErrStalled is wrapped by the error of a refresh that was cancelled because it made no progress for Config.Stall.
	ErrStalled = errors.New("the refresh made no progress")
	// ErrLost is wrapped by the error of a refresh that did not even end when it was cancelled.
	ErrLost = errors.New("the refresh does not end although it was cancelled, and was given up")
	// ErrNone is what [Loader.Stored] returns when no version is stored.
	ErrNone = errors.New("no version is stored")
)

// Config is how an [Engine] works. All fields are set.
type Config struct {
	Datasets []string
	// Lanes is how many datasets are refreshed at a time, not counting those that wait without progress (see flight).
	Lanes int
	// Stall is how long a refresh may go without progress.
	Stall time.Duration
	Retry Retry
	// BeaconWithin is how long a dataset stays fresh without a beacon, as long as no beacon has said its period; zero means
	// three of the default. Beacons of a longer period are believed up to four times that.
	BeaconWithin time.Duration
}

// longestTrust is how many times BeaconWithin a beacon may ask to be trusted for.
const longestTrust = 4

// Retry says when what failed is tried again: after Initial, then after twice as long each time up to Max, each time
// give or take half, so that instances that failed together do not return together.
type Retry struct {
	Initial, Max time.Duration
}

func (r Retry) policy() *backoff.ExponentialBackOff {
	b := &backoff.ExponentialBackOff{
		InitialInterval: r.Initial, MaxInterval: r.Max, Multiplier: 2, RandomizationFactor: 0.5,
	}
	b.Reset()
	return b
}

// Deps is what an [Engine] works with. T is what a dataset is in memory, and D how a version of it differs from the one
// before.
type Deps[T, D any] struct {
	// Versions brings version records of the datasets in any order, also repeatedly.
	Versions <-chan dataset.VersionRecord
	// CatchUps brings reasons to ask for the newest versions.
	CatchUps <-chan string
	// Beacons brings what beacons say of the datasets.
	Beacons <-chan events.Heard
	Log     Log
	Relays  Relays
	Loader  Loader[T, D]
	Watcher Watcher[T, D]
	// Barred returns the quarantined versions of a dataset, which must not be loaded. It is called after the stored version was
	// loaded, and returns at once. Nil means that there are none.
	Barred func(name string) []Barred
	// StoredAgain, if not nil, tells that stored versions can be read that could not be before. They are, of datasets of which
	// nothing is served.
	StoredAgain <-chan struct{}
}

// Log is what the catcher needs of the event log.
type Log interface {
	// Latest returns the record of the newest version of each dataset that the log knows of. With an error come
	// those that could be read.
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
}

// Relays is what the catcher needs of the relays.
type Relays interface {
	// Latest returns the answers of the relays, and an error if none answered. It waits longer for slow relays as long as no relay names
	// own, the instance's store. silent are the relays that are up and did not answer: they may read any store.
	Latest(ctx context.Context, name string, own dataset.StoreID) (answers []Answer, silent []string, err error)
}

// Loader does the bytes-work, on a lane. Calls for different datasets run concurrently. A call reports every step
// forward by progress, which is cheap, and returns soon after ctx ends.
type Loader[T, D any] interface {
	// Stored returns the version kept locally, or ErrNone.
	Stored(ctx context.Context, name string, progress func()) (Loaded[T, D], error)
	// Load pulls and verifies the version rec. served is what is served now, nil if nothing is.
	Load(ctx context.Context, rec dataset.VersionRecord, served *Served[T], progress func()) (Loaded[T, D], error)
}

// Loaded is a version ready to be served.
type Loaded[T, D any] struct {
	Record dataset.VersionRecord
	// ID is the version id; zero for that of Record. A version that was recovered from a damaged folder has an ID, which is
	// zero if it is unknown, and a Record that is not the one that its publisher committed.
	ID    dataset.VersionID
	Value T
	// Damage says why the version is an older one than the newest that was stored; nil if it is not.
	Damage error
	// Difference is what the Watcher is told of how Value differs from what was served. The engine does not keep it.
	Difference D
	Pull       Pull
	// Swapped, if not nil, is called on the lane right after the swap, before the dataset's next refresh begins. It returns soon.
	Swapped func()
	// Finish, if not nil, is called when the version has been swapped in, or will not be: what has to be done after a refresh and may
	// take long. No lane and no refresh waits for it. Calls of one dataset come one at a time, in the order of the refreshes. Its
	// error is not one of the refresh. It should not hold Value, because versions may be swapped in before it is called.
	Finish func(swapped bool) error
	// Abandon, if not nil, is called when Finish has not returned in time, before Finish of the dataset's next version is called: a
	// Finish that goes on yet must not put this version in the place of a later one. It returns at once.
	Abandon func()
}

// ref returns the number and the id of the version.
func (l Loaded[T, D]) ref() dataset.Ref {
	if l.ID.IsZero() && l.Damage == nil {
		return l.Record.Ref()
	}
	return dataset.Ref{Version: l.Record.Version, ID: l.ID}
}

// Watcher is told what happens. Its methods are called by the loop, so they must return at once; one that panics
// makes the loop start again.
type Watcher[T, D any] interface {
	// Swapped: before was served until now (nil if nothing was), now is served from now on, and by is the
	// Difference of what was loaded.
	Swapped(before, now *Served[T], by D)
	// Failed: an attempt failed and will be made again.
	Failed(f Failure)
	// StoredUnusable: the locally stored version of a dataset cannot be served.
	StoredUnusable(name string, err error)
	// Finished: what remained to be done after a swap failed; or, with nil, succeeded after it had failed before.
	Finished(name string, err error)
	// CaughtUp: a catch-up ended. With an error it will be tried again at retry.
	CaughtUp(reason string, err error, retry time.Time)
	// Healed: a version became known because a beacon named one of which no event came.
	Healed(rec dataset.VersionRecord)
	// Changed: a dataset is in another state.
	Changed(c Change)
	// Foreign: messages of another store are ignored, or relays read different stores. It is called once for each such
	// store as long as its messages come, and for each set of relays that disagree; name is empty if it is about all datasets.
	Foreign(name, warning string)
	// StoreChanged: all relays read another store now.
	StoreChanged(was, now dataset.StoreID)
	// Rejected: a version that only an event names cannot be loaded, and the store does not have it.
	Rejected(rec dataset.VersionRecord)
	// Restarted: the loop panicked and is started again.
	Restarted(err error)
}

// Change is a dataset's change from one state to another.
type Change struct {
	Dataset         string
	Was, Now        fleet.State
	Since           time.Time // when it came into the state
	Why             string
	Version, Newest uint64
	// Usual is true for what every refresh of a fresh dataset brings: that it waits for a lane, begins, and ends well.
	Usual bool
}

// Failure is a failed attempt to refresh a dataset.
type Failure struct {
	Record   dataset.VersionRecord
	Err      error
	Attempt  int // 1 for the first since the last success
	Duration time.Duration
	// Retry is when it is tried again, unless a newer version comes. It is zero if a goroutine hangs at the version: then it is
	// tried again when that returns.
	Retry time.Time
}
