package subscribe

import (
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"github.com/sourcegraph/conc/panics"
)

// Observer receives the events of a [Subscriber], for metrics and the like. Any of its functions may be nil.
//
// The functions must return at once, because most are called on the goroutine that refreshes everything. They may be called
// from several goroutines at a time. A panic in one is logged and reported, and stops nothing.
type Observer struct {
	// Swapped is called when a new version is served.
	Swapped func(Refresh)
	// Failed is called when an attempt to refresh a dataset fails. The version before, if any, stays served.
	Failed func(Failure)
	// StateChanged is called when a dataset enters another state.
	StateChanged func(StateChange)
	// CaughtUp is called after a query of the event log for the newest versions, also if it failed.
	CaughtUp func(CatchUp)
	// Healed is called when a beacon has named a version of which no event came.
	Healed func(Healing)
	// Rejected is called when a version that only an event names cannot be loaded and is not in the store.
	Rejected func(Rejection)
	// OtherStore is called when messages of another store are ignored, or when relays read different stores.
	OtherStore func(StoreWarning)
	// StoreChanged is called when all relays read another store than before, and the instance follows them.
	StoreChanged func(StoreChange)
	// RelayRefused is called when a relay sent wrong bytes, which were discarded.
	RelayRefused func(RelayRefusal)
	// CacheFailed is called when an operation in the cache folder fails. Serving continues.
	CacheFailed func(CacheFailure)
	// CacheWritten is called when a version is stored in the cache folder again after failures, and when the folder's deltas have
	// become part of a new snapshot.
	CacheWritten func(CacheWrite)
	// CallbackFailed is called when a function given to OnSwap has panicked.
	CallbackFailed func(CallbackFailure)
	// DecodeFailed is called when an eager view could not decode records of a version, and when the decode function of a lazy view
	// has panicked for the first time at a version.
	DecodeFailed func(DecodeFailure)
	// Restarted is called when the goroutine that refreshes everything has panicked and continues.
	Restarted func(Restart)
}

// TeeObserver returns an Observer that passes every event to each of the observers, in their order. None of its functions is
// nil. If functions panic, the others still receive the event; the first panic continues after that.
func TeeObserver(observers ...Observer) Observer {
	return Observer{
		Swapped:        tee(observers, func(o Observer) func(Refresh) { return o.Swapped }),
		Failed:         tee(observers, func(o Observer) func(Failure) { return o.Failed }),
		StateChanged:   tee(observers, func(o Observer) func(StateChange) { return o.StateChanged }),
		CaughtUp:       tee(observers, func(o Observer) func(CatchUp) { return o.CaughtUp }),
		Healed:         tee(observers, func(o Observer) func(Healing) { return o.Healed }),
		Rejected:       tee(observers, func(o Observer) func(Rejection) { return o.Rejected }),
		OtherStore:     tee(observers, func(o Observer) func(StoreWarning) { return o.OtherStore }),
		StoreChanged:   tee(observers, func(o Observer) func(StoreChange) { return o.StoreChanged }),
		RelayRefused:   tee(observers, func(o Observer) func(RelayRefusal) { return o.RelayRefused }),
		CacheFailed:    tee(observers, func(o Observer) func(CacheFailure) { return o.CacheFailed }),
		CacheWritten:   tee(observers, func(o Observer) func(CacheWrite) { return o.CacheWritten }),
		CallbackFailed: tee(observers, func(o Observer) func(CallbackFailure) { return o.CallbackFailed }),
		DecodeFailed:   tee(observers, func(o Observer) func(DecodeFailure) { return o.DecodeFailed }),
		Restarted:      tee(observers, func(o Observer) func(Restart) { return o.Restarted }),
	}
}

// tee returns a function that calls the function of each observer.
func tee[E any](observers []Observer, function func(Observer) func(E)) func(E) {
	var all []func(E)
	for _, o := range observers {
		if f := function(o); f != nil {
			all = append(all, f)
		}
	}
	return func(e E) {
		var first panics.Catcher
		for _, f := range all {
			first.Try(func() { f(e) })
		}
		first.Repanic()
	}
}

// Refresh is the event of a version that is served from now on.
type Refresh struct {
	// Record and ID are as in a [Swap].
	Record dataset.VersionRecord
	ID     dataset.VersionID
	// From is whether the version was pulled from a relay or read from the cache folder.
	From fleet.Origin
	// Records is the number of records, Bytes the resident size of the table.
	Records int
	Bytes   int64
	// PulledBytes is the number of bytes that came over the network.
	PulledBytes int64
	// Full is true if the version was made from a snapshot, false if from the version served before. Deltas is the number of
	// deltas that were applied to either.
	Full   bool
	Deltas int
	// Fallback is why a snapshot was pulled in place of the deltas from the version before; nil if none was.
	Fallback error
	// At is the time of the swap. Duration is the time from the start of the refresh to the swap.
	At       time.Time
	Duration time.Duration
	// Replayed is true for a version that was served already and was pulled again, because an operator wanted that.
	Replayed bool

	swap *pendingSwap // for callbacks; other observers must not keep the table
}

// Failure is the event of a failed attempt to refresh a dataset.
type Failure struct {
	Record dataset.VersionRecord // of the version that was attempted
	Err    error
	// Attempt is 1 for the first attempt since the last success.
	Attempt  int
	Duration time.Duration
	// Retry is when the version is attempted again, unless a newer one arrives. It is zero if the attempt hangs and cannot be
	// cancelled: then the version is attempted again when it returns. It is far away if a further attempt would fail likewise.
	Retry time.Time
	// Bound is the bound of Config.Bounds that refused the version, one of [BoundNames]; empty for every other failure. Repeated is true if
	// the bound refused the version before.
	Bound    string
	Repeated bool
}

// StateChange is the event of a dataset that enters another state.
type StateChange struct {
	Dataset  string
	Was, Now fleet.State
	Since    time.Time
	Why      string
	// Version is the version that is served, and Newest the newest one known; 0 for none.
	Version, Newest uint64
	// Quarantined is the version that is not loaded, in the state of that name.
	Quarantined dataset.Ref
	// Usual is true for changes that every refresh of a fresh dataset brings.
	Usual bool
}

// CatchUp is the event of a query of the event log for the newest versions.
type CatchUp struct {
	Reason string
	Err    error     // nil if it succeeded
	Retry  time.Time // of a failed query
}

// Healing is the event of a version that the instance knows from a beacon, because no event came.
type Healing struct{ Record dataset.VersionRecord }

// Rejection is the event of a version that is ignored because only an event names it.
type Rejection struct{ Record dataset.VersionRecord }

// StoreWarning is the event of messages or relays of another store.
type StoreWarning struct {
	Dataset string // empty if all datasets are concerned
	Warning string
}

// StoreChange is the event of an instance that follows all its relays to another store.
type StoreChange struct{ Was, Now dataset.StoreID }

// RelayRefusal is the event of wrong bytes from a relay.
type RelayRefusal struct {
	Relay  string // its base URL without the password
	Object dataset.Object
	Err    error // how the bytes are wrong
}

// CacheOperation is an operation in the cache folder.
type CacheOperation string

// The operations in the cache folder.
const (
	CacheLoad    CacheOperation = "load"    // reads the stored version at the start
	CacheStore   CacheOperation = "store"   // stores a version that is served
	CacheShorten CacheOperation = "shorten" // replaces a snapshot and its deltas by a new snapshot
	CacheConfirm CacheOperation = "confirm" // records that the process lives with a version
)

// CacheFailure is the event of a failed operation in the cache folder.
type CacheFailure struct {
	Dataset   string
	Operation CacheOperation
	Err       error
}

// CacheWrite is the event of a successful CacheStore or CacheShorten.
type CacheWrite struct {
	Dataset   string
	Operation CacheOperation
}

// CallbackFailure is the event of a panic in a function given to OnSwap.
type CallbackFailure struct {
	Dataset string
	Version uint64
	Err     error
	Pause   time.Duration // before the next call
}

// DecodeFailure is the event of records that a view could not decode.
type DecodeFailure struct {
	Dataset string
	Version uint64
	// Records is the number of records of this version that an eager view could not decode; 0 for a lazy view.
	Records int
	Err     error // of the first record
}

// Restart is the event of a panic of the goroutine that refreshes everything.
type Restart struct{ Err error }

// event is implemented by all events.
type event interface {
	// about returns the dataset of the event and the version. The name is empty if the event is about the whole instance.
	about() (name string, version uint64)
}

func (e Refresh) about() (string, uint64)         { return e.Record.Dataset, e.Record.Version }
func (e Failure) about() (string, uint64)         { return e.Record.Dataset, e.Record.Version }
func (e StateChange) about() (string, uint64)     { return e.Dataset, e.Version }
func (e CatchUp) about() (string, uint64)         { return "", 0 }
func (e Healing) about() (string, uint64)         { return e.Record.Dataset, e.Record.Version }
func (e Rejection) about() (string, uint64)       { return e.Record.Dataset, e.Record.Version }
func (e StoreWarning) about() (string, uint64)    { return e.Dataset, 0 }
func (e StoreChange) about() (string, uint64)     { return "", 0 }
func (e RelayRefusal) about() (string, uint64)    { return "", 0 }
func (e CacheFailure) about() (string, uint64)    { return e.Dataset, 0 }
func (e CacheWrite) about() (string, uint64)      { return e.Dataset, 0 }
func (e CallbackFailure) about() (string, uint64) { return e.Dataset, e.Version }
func (e DecodeFailure) about() (string, uint64)   { return e.Dataset, e.Version }
func (e Restart) about() (string, uint64)         { return "", 0 }
