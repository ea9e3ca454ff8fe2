package fleet

import (
	"time"

	"freshet.dev/pkg/dataset"
)

// State is how fresh a dataset is on an instance. Of those that apply the first is the state.
type State string

// The states, the gravest first. An instance with a Version goes on answering from it in all of them.
const (
	// Failing: the last attempt to refresh failed; it is tried again.
	Failing State = "failing"
	// Quarantined: processes died of the newest version, which is not loaded any more; the version before is served, if the cache
	// folder has it. The next version is taken.
	Quarantined State = "quarantined"
	// Diverged: the served version is not in the history of the store, which was restored from an older copy or created again.
	// The instance moves to the store's version.
	Diverged State = "diverged"
	// Blind: nothing has vouched for the dataset for three periods of the publisher's beacon, so there may be newer
	// versions that the instance knows nothing of. What vouches is a beacon and, when the instance starts or reconnects, an
	// answer to its catch-up.
	Blind State = "blind"
	// Refreshing: a newer version is being brought up.
	Refreshing State = "refreshing"
	// Lagging: a newer version is known and not served, and no refresh is in progress.
	Lagging State = "lagging"
	// Overdue: the cadence that the pipeline promised has passed, and there is no newer version.
	Overdue State = "overdue"
	// Waiting: there is no version of the dataset yet.
	Waiting State = "waiting"
	// Fresh: the newest version is served.
	Fresh State = "fresh"
)

// States are all of them, the gravest first.
var States = [...]State{Failing, Quarantined, Diverged, Blind, Refreshing, Lagging, Overdue, Waiting, Fresh}

// Origin is where an instance has a version from.
type Origin string

// The origins of a version.
const (
	// Relay: pulled from a relay since the instance started.
	Relay Origin = "relay"
	// Cache: read from the instance's cache folder when it started.
	Cache Origin = "cache"
)

// Status is what an instance says of itself.
type Status struct {
	// Instance is its name, as configured. Two processes should not have the same, but may.
	Instance string    `json:"instance"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	// Run is drawn at the start. It tells an instance from the one before a restart, which may have the same name, host and
	// process number. It is empty from releases up to v0.2.
	Run      string          `json:"run,omitempty"`
	Datasets []DatasetStatus `json:"datasets"`
	// Store is the store that the instance's relays read; zero if no relay has named one.
	Store dataset.StoreID `json:"store,omitzero"`
	// StoreWarning says that messages of another store are ignored, or that relays read different stores; empty if neither is so.
	StoreWarning string `json:"store_warning,omitempty"`
	// ForeignMessages counts the messages of other stores that were ignored, and StoreChanges how often all relays came to read
	// another store, since the instance started.
	ForeignMessages uint64 `json:"foreign_messages,omitempty"`
	StoreChanges    uint64 `json:"store_changes,omitempty"`
	// Relays are those that the instance asks, in the configured order.
	Relays []RelayStatus `json:"relays,omitempty"`
	// Omitted is how many further datasets were left out because there was no room: those in the least grave states. The
	// status that an instance has of itself is whole.
	Omitted int `json:"omitted,omitempty"`
}

// Standing is what an instance thinks of a relay.
type Standing string

// The standings of a relay.
const (
	// Good: asked first for its share of the objects.
	Good Standing = "good"
	// Failed: it failed lately, and is asked after those in good standing.
	Failed Standing = "failed"
	// Distrusted: it gave wrong bytes lately, and is asked only if no other relay is left.
	Distrusted Standing = "distrusted"
)

// RelayStatus is how a relay did, as seen by an instance since that started.
type RelayStatus struct {
	Relay    string   `json:"relay"` // its base URL without its password
	Standing Standing `json:"standing"`
	// Failures counts how often it was down, silent or without a usable answer, Refusals how often it gave wrong bytes,
	// which were discarded.
	Failures uint64 `json:"failures"`
	Refusals uint64 `json:"refusals"`
	// Error is the last of either, empty if there was none.
	Error string `json:"error,omitempty"`
}

// DatasetStatus is what an instance says of one of its datasets.
type DatasetStatus struct {
	Dataset string `json:"dataset"`
	// Version is the one that is served, 0 if none is, and Newest the newest that the instance knows of, by an event, a
	// catch-up or a beacon.
	Version uint64 `json:"version"`
	// ID is the id of the served version; zero if none is served.
	ID      dataset.VersionID `json:"id,omitzero"`
	Newest  uint64            `json:"newest"`
	Records int               `json:"records"`
	// Bytes is the resident size of the table.
	Bytes int64  `json:"bytes"`
	State State  `json:"state"`
	From  Origin `json:"from,omitempty"`
	// Error is why the last refresh failed, empty if it did not.
	Error string `json:"error,omitempty"`
	// Quarantined is the version that is not loaded because processes died of it; zero if there is none. Warning says what to do.
	Quarantined dataset.Ref `json:"quarantined,omitzero"`
	// Warning is what stops neither serving nor refreshing but wants looking after, such as a cache folder that cannot be
	// written; empty if nothing does.
	Warning string `json:"warning,omitempty"`
	// Since is when the dataset came into its state.
	Since time.Time `json:"since"`
	// Created is when the served version was committed, by the publisher's clock, and AgeSeconds how long ago that is, by the
	// instance's; never negative. Served is when the instance swapped it in.
	Created    time.Time `json:"created,omitzero"`
	AgeSeconds float64   `json:"age_seconds"`
	Served     time.Time `json:"served,omitzero"`
	// BehindSince is when the first of the newer versions became known that are not served; zero if there is none.
	// BehindSeconds is how long ago that is by the instance's clock, so that no other clock need agree with it.
	BehindSince   time.Time `json:"behind_since,omitzero"`
	BehindSeconds float64   `json:"behind_seconds,omitempty"`
	// FollowersBehindSeconds is for how long a function of the service that follows the dataset, such as an eager view, has
	// not come to the version that is served, or to one before that; 0 if all have.
	FollowersBehindSeconds float64 `json:"followers_behind_seconds,omitempty"`
	// Vouched is when a beacon or a catch-up last said what the newest version is; zero if none has.
	Vouched time.Time `json:"vouched,omitzero"`
	// ExpectEvery is the promised cadence of the served version, in nanoseconds; 0 if there is none.
	ExpectEvery time.Duration `json:"expect_every_ns,omitempty"`
	LastPull    Pull          `json:"last_pull,omitzero"`
	// Refreshes counts those since the instance started.
	Refreshes Refreshes `json:"refreshes,omitzero"`
	// LastError is why a refresh failed last, at LastErrorAt, also when it has succeeded since.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Refreshes counts refreshes that succeeded, by how.
type Refreshes struct {
	Full  uint64 `json:"full"`  // from a snapshot
	Delta uint64 `json:"delta"` // from the version before
	// GaveUp counts those among Full that began with deltas, which did not lead to the version.
	GaveUp      uint64 `json:"gave_up"`
	PulledBytes int64  `json:"pulled_bytes"`
	// Failed counts attempts that failed, and Panicked those among them that panicked.
	Failed   uint64 `json:"failed"`
	Panicked uint64 `json:"panicked"`
	// Healed counts versions of which no event came, and which the instance learned of by a beacon.
	Healed uint64 `json:"healed"`
}

// Pull is what the last refresh cost.
type Pull struct {
	Bytes int64 `json:"bytes"` // over the network
	// Full is true if the version was made from a snapshot, false if from the version before. Deltas is how many deltas
	// were applied to either.
	Full   bool `json:"full"`
	Deltas int  `json:"deltas"`
	// GaveUp is why the deltas from the version before were given up for the snapshot; empty if they were not.
	GaveUp string `json:"gave_up,omitempty"`
	// Duration is from the begin of the refresh to the swap, in nanoseconds.
	Duration time.Duration `json:"duration_ns"`
}

// Dataset returns what s says of the dataset; ok is false if the instance does not have it.
func (s Status) Dataset(name string) (d DatasetStatus, ok bool) {
	for _, d := range s.Datasets {
		if d.Dataset == name {
			return d, true
		}
	}
	return DatasetStatus{}, false
}

// only returns s with the named dataset alone, or with none if the instance does not have it.
func (s Status) only(name string) Status {
	d, ok := s.Dataset(name)
	s.Datasets = nil
	if ok {
		s.Datasets = []DatasetStatus{d}
	}
	return s
}

// Kind is what a [Report] tells of.
type Kind string

// The kinds of reports.
const (
	OfSwap    Kind = "swap"    // a version is served from now on
	OfFailure Kind = "failure" // an attempt to refresh failed
	OfState   Kind = "state"   // the dataset is in another state
)

// Report is what an instance says when a refresh ends, well or badly, and when a dataset changes its state.
type Report struct {
	Kind Kind `json:"kind"`
	// Instance, Host, PID and Run are as in the instance's [Status].
	Instance string `json:"instance"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Run      string `json:"run,omitempty"`
	Dataset  string `json:"dataset"`
	// Version is the one that is now served, or, if a refresh failed, the one that could not be.
	Version uint64 `json:"version"`
	// ID is the id of that version; zero if it is not known.
	ID          dataset.VersionID `json:"id,omitzero"`
	PulledBytes int64             `json:"pulled_bytes"`
	// Full, Deltas and GaveUp are as in Pull.
	Full   bool   `json:"full"`
	Deltas int    `json:"deltas"`
	GaveUp string `json:"gave_up,omitempty"`
	// Created is when the version was committed, by the publisher's clock, and Served when the instance swapped it in,
	// by the instance's.
	Created time.Time `json:"created,omitzero"`
	Served  time.Time `json:"served,omitzero"`
	// Duration is from the begin of the refresh to the swap, in nanoseconds.
	Duration time.Duration `json:"duration_ns"`
	// Error is why the refresh failed; empty if it did not. Stack is that of the panic that it was, if it was one.
	Error string `json:"error,omitempty"`
	Stack string `json:"stack,omitempty"`
	// State is what the dataset is in now and Was what it was in before; set in a report OfState.
	State State `json:"state,omitempty"`
	Was   State `json:"was,omitempty"`
	// Quarantined is as in DatasetStatus, in a report OfState.
	Quarantined dataset.Ref `json:"quarantined,omitzero"`
	// At is when this happened, by the instance's clock.
	At time.Time `json:"at,omitzero"`
}
