package refresh

import (
	"context"
	"errors"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/events"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/internal/backoff"
)

var (
	// ErrStalled is returned when a refresh was cancelled because it made no progress for Config.Stall.
	ErrStalled = errors.New("the refresh made no progress")
	// ErrAbandoned is returned when a refresh did not end after its cancellation. Its goroutine may still hang.
	ErrAbandoned = errors.New("the refresh did not end after it was cancelled, and its goroutine was abandoned")
	// ErrNone is returned by [Loader.Stored] when no version is stored.
	ErrNone = errors.New("no version is stored")
)

// Config configures an [Engine]. All fields but BeaconWithin must be set.
type Config struct {
	Datasets []string
	// Lanes is how many refreshes may make progress at a time. Refreshes that wait without progress do not count (see flight).
	Lanes int
	// Stall is how long a refresh may go without progress before it is cancelled.
	Stall time.Duration
	Retry Retry
	// BeaconWithin is how long a dataset stays fresh without a beacon, until a beacon names its own period. Zero means three
	// default periods. A beacon with a longer period keeps the dataset fresh for up to longestTrust times BeaconWithin.
	BeaconWithin time.Duration
	// PinFor is how old a pin may be until a pinned dataset with a newer version is stale. It must be set with Deps.Pins.
	PinFor time.Duration
}

// longestTrust bounds how long a beacon can keep a dataset fresh, as a multiple of BeaconWithin.
const longestTrust = 4

// Retry has the first and the longest pause of the backoffs (see [backoff.Backoff]).
type Retry struct {
	Initial, Max time.Duration
}

func (r Retry) newBackoff() *backoff.Backoff { return backoff.New(r.Initial, r.Max) }

// Deps is what an [Engine] works with. T is a dataset in memory, and D the difference between two versions of it.
type Deps[T, D any] struct {
	// Versions receives version records of the datasets, in any order and possibly repeated.
	Versions <-chan dataset.VersionRecord
	// CatchUps receives reasons for a catch-up.
	CatchUps <-chan string
	// Beacons receives beacons.
	Beacons <-chan events.Beacons
	// Entries receives journal entries, each before the versions that were announced after it. It and Pins are nil without pins.
	Entries <-chan dataset.Entry
	Pins    Pins
	Log     Log
	Relays  Relays
	Loader  Loader[T, D]
	Watcher Watcher[T, D]
	// Barred returns the versions of a dataset that must not be loaded. The engine calls it after it loaded the stored version. It
	// must return at once. Nil means none.
	Barred func(name string) []Barred
	// StoredAgain, if not nil, reports that stored versions can be read again after a failure. The engine then loads those of
	// datasets without a served version.
	StoredAgain <-chan struct{}
}

// Log is the event log.
type Log interface {
	// Latest returns the record of the newest version of each dataset in the log. If it returns an error, it still returns
	// the records that it could read.
	Latest(ctx context.Context, names []string) (map[string]dataset.VersionRecord, error)
}

// Relays queries the relays.
type Relays interface {
	// Latest returns the answers of the relays, and an error if no relay answered. While no relay names own, the instance's
	// store, it waits longer for slow relays. silent lists the relays that are up and did not answer: they may read any store.
	Latest(ctx context.Context, name string, own dataset.StoreID) (answers []Answer, silent []string, err error)
}

// Loader loads versions. The engine calls it concurrently for different datasets. A call must report each step by
// progress, which is cheap, and return soon after ctx ends.
type Loader[T, D any] interface {
	// Stored returns the locally stored version, or ErrNone.
	Stored(ctx context.Context, name string, progress func()) (Loaded[T, D], error)
	// Load pulls and verifies the version rec. served is the served version; nil if there is none.
	Load(ctx context.Context, rec dataset.VersionRecord, served *Served[T], progress func()) (Loaded[T, D], error)
	// Reload pulls and verifies the served version again, without its Value. If from is not 0, Difference is the changes since that version;
	// the served version's record has the deltas since then.
	Reload(ctx context.Context, served *Served[T], from uint64, progress func()) (Loaded[T, D], error)
}

// Loaded is a version that can be served.
type Loaded[T, D any] struct {
	Record dataset.VersionRecord
	// ID is the version's id; zero means that of Record. For a version recovered from a damaged folder, ID is zero if the id is
	// unknown, and Record is not the one that the publisher committed.
	ID    dataset.VersionID
	Value T
	// Kept and NoValue are as in [Served]. Such a version has no Swapped and no Finish.
	Kept    *Kept
	NoValue bool
	// Damage is why the version is older than the newest stored one; nil if it is not.
	Damage error
	// Difference is how Value differs from the served version. The engine passes it to the Watcher and does not keep it.
	Difference D
	Pull       Pull
	// Swapped, if not nil, is called by the worker right after the swap and before the dataset's next refresh. It must return
	// soon.
	Swapped func()
	// Finish, if not nil, does the work after a refresh that may take long. It is called when the version was swapped in, or
	// will not be. No lane and no refresh waits for it. Calls for one dataset run one at a time, in the order of the refreshes. Its
	// error does not fail the refresh. It should not hold Value, because later versions may be swapped in before the call.
	Finish func(swapped bool) error
	// Abandon, if not nil, is called when Finish has not returned in time, and before Finish of the dataset's next version is
	// called. From then on, Finish must not put this version in the place of a later one. Abandon must return at once.
	Abandon func()
}

// ref returns the number and the id of the version.
func (l Loaded[T, D]) ref() dataset.Ref {
	if l.ID.IsZero() && l.Damage == nil {
		return l.Record.Ref()
	}
	return dataset.Ref{Version: l.Record.Version, ID: l.ID}
}

// Watcher receives the events of an engine. The loop calls its methods, so they must return at once. A panic in one restarts
// the loop.
type Watcher[T, D any] interface {
	// Swapped reports that now replaced before as the served version. before is nil for the first version. by is the Difference of
	// the loaded version.
	Swapped(before, now *Served[T], by D)
	// Replayed reports a replay of the served version. before is now unless its Value was loaded again. by is the changes since
	// r.From; the zero D without one.
	Replayed(r Replay, before, now *Served[T], by D)
	// Failed reports an attempt that failed and will be retried.
	Failed(f Failure)
	// StoredUnusable reports that the stored version of a dataset cannot be served.
	StoredUnusable(name string, err error)
	// Finished reports that a Finish call failed, or, with nil, that one succeeded after a failure.
	Finished(name string, err error)
	// CaughtUp reports the end of a catch-up. If err is not nil, the catch-up is retried at retry.
	CaughtUp(reason string, err error, retry time.Time)
	// Healed reports a version that a catch-up found because a beacon named it and no event came.
	Healed(rec dataset.VersionRecord)
	// Changed reports the change of a dataset's state.
	Changed(c Change)
	// OtherStore reports that messages of another store are ignored, or that relays read different stores. It is called once for each
	// such store as long as its messages come, and once for each set of relays that disagree. name is empty if the warning is about
	// all datasets.
	OtherStore(name, warning string)
	// StoreChanged reports that all relays read another store now.
	StoreChanged(was, now dataset.StoreID)
	// Rejected reports that a version which only an event names cannot be loaded and is not in the store.
	Rejected(rec dataset.VersionRecord)
	// Restarted reports that the loop panicked and restarts.
	Restarted(err error)
}

// Change is a change of a dataset's state.
type Change struct {
	Dataset         string
	Was, Now        fleet.State
	Since           time.Time // when the state Now began
	Why             string
	Version, Newest uint64
	// Usual is true for a change that every refresh of a fresh dataset causes: it waits for a lane, begins, and succeeds.
	Usual bool
}

// Failure is a failed attempt to refresh a dataset.
type Failure struct {
	Record   dataset.VersionRecord
	Err      error
	Attempt  int // 1 for the first since the last success
	Duration time.Duration
	// Retry is when the next attempt starts, unless a newer version comes. It is zero if the next attempt waits for a goroutine that
	// hangs at the version.
	Retry time.Time
}
