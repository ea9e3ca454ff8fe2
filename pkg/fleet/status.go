package fleet

import (
	"time"

	"freshet.dev/pkg/dataset"
)

// State is the freshness of a dataset on an instance. If several states apply, the first of them counts.
type State string

// The states, the most severe first. An instance with a Version serves lookups from it in every state.
const (
	// Failing: the last attempt to refresh failed; the instance retries.
	Failing State = "failing"
	// Quarantined: processes died while they loaded the newest version, and the instance does not load it any more. It serves
	// the version before, if the cache folder has it, and loads the next version.
	Quarantined State = "quarantined"
	// Diverged: the served version is not in the history of the store, because the store was restored from an older copy or
	// created again. The instance moves to the store's version.
	Diverged State = "diverged"
	// Blind: nothing has confirmed the newest version of the dataset for three periods of the publisher's beacon, so there may
	// be newer versions that the instance does not know. A confirmation is a beacon or, when the instance starts or
	// reconnects, an answer to its catch-up.
	Blind State = "blind"
	// Refreshing: the instance is loading a newer version.
	Refreshing State = "refreshing"
	// Lagging: a newer version is known and not served, and no refresh is in progress.
	Lagging State = "lagging"
	// Overdue: the cadence that the pipeline promised has passed without a newer version.
	Overdue State = "overdue"
	// Deleted: the newest version deletes the dataset. The instance goes on answering from the table that it has, unless the delete
	// drops it; see [DatasetStatus].Deleted. Releases up to v0.3 do not have this state.
	Deleted State = "deleted"
	// Waiting: the dataset has no version yet.
	Waiting State = "waiting"
	// Fresh: the instance serves the newest version.
	Fresh State = "fresh"
	// Pinned: the instance is pinned to the version that it serves, and holds it whatever is announced. The state takes precedence over
	// all others. It ends when the pin is older than the instance's setting: if there is a newer version, the instance is then Lagging.
	Pinned State = "pinned"
)

// States lists all states, the most severe first.
var States = [...]State{Failing, Quarantined, Diverged, Blind, Refreshing, Lagging, Overdue, Deleted, Waiting, Pinned, Fresh}

// Origin is the source of a version on an instance.
type Origin string

// The origins of a version.
const (
	// Relay: the instance pulled the version from a relay.
	Relay Origin = "relay"
	// Cache: the instance read the version from its cache folder at its start.
	Cache Origin = "cache"
)

// Status is an instance's report on itself.
type Status struct {
	// Instance is the configured name of the instance. Two processes should not have the same name, but may.
	Instance string    `json:"instance"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	// Run is random for each start. It distinguishes an instance from the one before a restart, which may have the same name,
	// host and process id. It is empty in releases up to v0.2.
	Run string `json:"run,omitempty"`
	// Labels are the instance's configured labels, by which a [Selection] chooses it. It is empty in releases before labels.
	Labels map[string]string `json:"labels,omitempty"`
	// Abilities are what the instance's release can do that earlier ones cannot: see [AbilityDeleted]. It is empty in releases up to v0.3.
	Abilities []string        `json:"abilities,omitempty"`
	Datasets  []DatasetStatus `json:"datasets"`
	// Store is the store of the instance's relays; zero if no relay has reported one.
	Store dataset.StoreID `json:"store,omitzero"`
	// StoreWarning is not empty if the instance ignores messages of another store, or if its relays read different stores.
	StoreWarning string `json:"store_warning,omitempty"`
	// ForeignMessages counts the ignored messages of other stores since the instance started. StoreChanges counts how often all
	// relays changed to another store in that time.
	ForeignMessages uint64 `json:"foreign_messages,omitempty"`
	StoreChanges    uint64 `json:"store_changes,omitempty"`
	// Relays has the instance's relays, in the configured order.
	Relays []RelayStatus `json:"relays,omitempty"`
	// Omitted is the number of datasets that were dropped because the message would have been too long: those in the least
	// severe states. The status that an instance has of itself is complete.
	Omitted int `json:"omitted,omitempty"`
}

// Standing is an instance's rating of a relay.
type Standing string

// The standings of a relay.
const (
	// Good: the instance queries the relay first for its share of the objects.
	Good Standing = "good"
	// Failed: the relay has failed recently. The instance queries it after those in good standing.
	Failed Standing = "failed"
	// Distrusted: the relay has sent wrong bytes recently. The instance queries it only if no other relay is left.
	Distrusted Standing = "distrusted"
)

// RelayStatus is an instance's record of a relay since the instance started.
type RelayStatus struct {
	Relay    string   `json:"relay"` // the base URL without the password
	Standing Standing `json:"standing"`
	// Failures counts how often the relay was down, silent or without a usable answer. Refusals counts how often it sent wrong
	// bytes, which the instance discarded.
	Failures uint64 `json:"failures"`
	Refusals uint64 `json:"refusals"`
	// Error is the last failure or refusal; empty if there was none.
	Error string `json:"error,omitempty"`
}

// IndexStatus is an instance's report on a secondary index.
type IndexStatus struct {
	// Index is the declaration of the index, such as name^.
	Index string `json:"index"`
	// Version is the version that the index answers from; 0 before the first. It may be older than the served one for a moment.
	Version uint64 `json:"version"`
	// Records is the number of records that the index has. Entries is more for ranges of addresses, which are split.
	Records int `json:"records"`
	Entries int `json:"entries"`
	// Bytes is the memory of the index, in addition to that of the table.
	Bytes int64 `json:"bytes"`
	// UpdateSeconds is how long the last update took, of all indexes of the dataset together. Full reports whether it read all records.
	UpdateSeconds float64 `json:"update_seconds"`
	Full          bool    `json:"full,omitempty"`
	// BehindSeconds is how long a newer version than Version has been served; 0 if none is.
	BehindSeconds float64 `json:"behind_seconds,omitempty"`
	// Lacking are the records that the index lacks, by the reason. The warning of the dataset names one of each, except for missing members.
	Lacking []LackingRecords `json:"lacking,omitempty"`
}

// LackingRecords is the number of records that an index lacks for a reason, such as "missing".
type LackingRecords struct {
	Reason  string `json:"reason"`
	Records int    `json:"records"`
}

// DatasetStatus is an instance's report on one of its datasets.
type DatasetStatus struct {
	Dataset string `json:"dataset"`
	// Version is the served version, or 0. Newest is the newest version that the instance knows from an event, a catch-up or a
	// beacon.
	Version uint64 `json:"version"`
	// ID is the id of the served version; zero if there is none.
	ID      dataset.VersionID `json:"id,omitzero"`
	Newest  uint64            `json:"newest"`
	Records int               `json:"records"`
	// Bytes is the resident size of the table.
	Bytes int64 `json:"bytes"`
	// KeptVersions is the number of earlier versions whose tables the instance keeps, so that a rollback to one of them needs no pull.
	// KeptBytes is the memory that they take in addition to Bytes.
	KeptVersions int    `json:"kept_versions,omitempty"`
	KeptBytes    int64  `json:"kept_bytes,omitempty"`
	State        State  `json:"state"`
	From         Origin `json:"from,omitempty"`
	// Error is the error of the last refresh; empty if it succeeded.
	Error string `json:"error,omitempty"`
	// Quarantined is the version that the instance does not load because processes died of it; zero if there is none. Warning
	// has the remedy.
	Quarantined dataset.Ref `json:"quarantined,omitzero"`
	// Deleted is set while the served version deletes the dataset.
	Deleted *Deletion `json:"deleted,omitempty"`
	// Pin is the pin that the instance follows; nil if there is none. In another state than Pinned, the instance is on its way to the pinned
	// version, or the pin is older than PinnedUntil.
	Pin         *dataset.Pin `json:"pin,omitempty"`
	PinnedUntil time.Time    `json:"pinned_until,omitzero"`
	// Warning is a fault that prevents neither serving nor refreshing but needs attention, such as a cache folder that is not
	// writable; empty if there is none.
	Warning string `json:"warning,omitempty"`
	// Since is the time at which the dataset entered its state.
	Since time.Time `json:"since"`
	// Created is the time of the served version's commit, by the publisher's clock. AgeSeconds is its age by the instance's
	// clock, never negative. Served is the time at which the instance swapped it in.
	Created    time.Time `json:"created,omitzero"`
	AgeSeconds float64   `json:"age_seconds"`
	Served     time.Time `json:"served,omitzero"`
	// BehindSince is the time at which the instance learned of the first version that is newer than the served one; zero if
	// there is none. BehindSeconds is the time since then by the instance's clock, and so independent of other clocks.
	BehindSince   time.Time `json:"behind_since,omitzero"`
	BehindSeconds float64   `json:"behind_seconds,omitempty"`
	// FollowersBehindSeconds is the time for which a follower of the dataset in the service, such as an eager view, has been
	// behind the served version; 0 if there is none.
	FollowersBehindSeconds float64 `json:"followers_behind_seconds,omitempty"`
	// Indexes are the secondary indexes of the dataset. It is empty if the instance has none, and in releases up to v0.4.
	Indexes []IndexStatus `json:"indexes,omitempty"`
	// Confirmed is the time at which a beacon or a catch-up last reported the newest version; zero if none has.
	Confirmed time.Time `json:"vouched,omitzero"`
	// ExpectEvery is the promised cadence of the served version, in nanoseconds; 0 if there is none.
	ExpectEvery time.Duration `json:"expect_every_ns,omitempty"`
	LastPull    Pull          `json:"last_pull,omitzero"`
	// Refreshes counts refreshes since the instance started.
	Refreshes Refreshes `json:"refreshes,omitzero"`
	// LastError is the error of the last failed refresh, at LastErrorAt. A later success does not clear it.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Refreshes counts refreshes by outcome.
type Refreshes struct {
	Full  uint64 `json:"full"`  // from a snapshot
	Delta uint64 `json:"delta"` // from the version before
	// Fallbacks counts those among Full that began with deltas and fell back to the snapshot.
	Fallbacks   uint64 `json:"gave_up"`
	PulledBytes int64  `json:"pulled_bytes"`
	// Failed counts failed attempts, and Panicked those among them that panicked.
	Failed   uint64 `json:"failed"`
	Panicked uint64 `json:"panicked"`
	// Healed counts versions whose event the instance missed, and which it learned of from a beacon.
	Healed uint64 `json:"healed"`
}

// Pull is the cost of the last refresh.
type Pull struct {
	Bytes int64 `json:"bytes"` // over the network
	// Full is true if the version was loaded from a snapshot, false if it was derived from the version before. Deltas is the
	// number of deltas that were applied.
	Full   bool `json:"full"`
	Deltas int  `json:"deltas"`
	// Fallback is the reason why the instance fell back from deltas to the snapshot; empty if it did not.
	Fallback string `json:"gave_up,omitempty"`
	// Duration is the time from the start of the refresh to the swap, in nanoseconds.
	Duration time.Duration `json:"duration_ns"`
}

// Dataset returns the status of the dataset. ok is false if the instance does not have it.
func (s Status) Dataset(name string) (d DatasetStatus, ok bool) {
	for _, d := range s.Datasets {
		if d.Dataset == name {
			return d, true
		}
	}
	return DatasetStatus{}, false
}

// only returns s with only the named dataset, or with none if the instance does not have it.
func (s Status) only(name string) Status {
	d, ok := s.Dataset(name)
	s.Datasets = nil
	if ok {
		s.Datasets = []DatasetStatus{d}
	}
	return s
}

// Kind is the kind of a [Report].
type Kind string

// The kinds of reports.
const (
	OfSwap    Kind = "swap"    // the instance has swapped in a version
	OfFailure Kind = "failure" // an attempt to refresh has failed
	OfState   Kind = "state"   // the dataset has entered another state
)

// Report is sent by an instance when a refresh succeeds or fails, and when the state of a dataset changes.
type Report struct {
	Kind Kind `json:"kind"`
	// Instance, Host, PID, Run and Labels are as in the instance's [Status].
	Instance string            `json:"instance"`
	Host     string            `json:"host"`
	PID      int               `json:"pid"`
	Run      string            `json:"run,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Dataset  string            `json:"dataset"`
	// Version is the version that the instance now serves or, after a failed refresh, the version that it failed to load.
	Version uint64 `json:"version"`
	// ID is the id of that version; zero if it is unknown.
	ID          dataset.VersionID `json:"id,omitzero"`
	PulledBytes int64             `json:"pulled_bytes"`
	// Full, Deltas and Fallback are as in Pull.
	Full     bool   `json:"full"`
	Deltas   int    `json:"deltas"`
	Fallback string `json:"gave_up,omitempty"`
	// Replayed is true if the instance has pulled the version again that it served already, see [Replay].
	Replayed bool `json:"replayed,omitempty"`
	// Created is the time of the version's commit, by the publisher's clock. Served is the time of the swap, by the
	// instance's clock.
	Created time.Time `json:"created,omitzero"`
	Served  time.Time `json:"served,omitzero"`
	// Duration is the time from the start of the refresh to the swap, in nanoseconds.
	Duration time.Duration `json:"duration_ns"`
	// Error is the error of the refresh; empty if it succeeded. Stack is the stack of the panic, if the error is one.
	Error string `json:"error,omitempty"`
	Stack string `json:"stack,omitempty"`
	// State is the new state of the dataset, and Was the one before, in a report OfState.
	State State `json:"state,omitempty"`
	Was   State `json:"was,omitempty"`
	// Quarantined is as in DatasetStatus, in a report OfState.
	Quarantined dataset.Ref `json:"quarantined,omitzero"`
	// At is the time of the report's event, by the instance's clock.
	At time.Time `json:"at,omitzero"`
}

// Behind returns how long before now the instance learned of a version newer than the served one; 0 if there is none.
func (d DatasetStatus) Behind(now time.Time) time.Duration {
	if d.BehindSince.IsZero() {
		return 0
	}
	return max(0, now.Sub(d.BehindSince))
}

// PinnedBelow reports whether the instance is pinned to a version below want, or to another version with its number, so that it will not
// serve want.
func (d DatasetStatus) PinnedBelow(want dataset.Ref) bool { return pinnedBelow(d.Pin, want) }

func pinnedBelow(pin *dataset.Pin, want dataset.Ref) bool {
	if pin == nil {
		return false
	}
	return pin.Version < want.Version || pin.Version == want.Version && !want.ID.IsZero() && pin.ID != want.ID
}
