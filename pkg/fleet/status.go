package fleet

import "time"

// State is what an instance does about a dataset.
type State string

// The states of a dataset on an instance.
const (
	// Waiting: there is no version of the dataset yet, or none could be had yet.
	Waiting State = "waiting"
	// Serving: the instance answers from a version.
	Serving State = "serving"
	// Failing: the last refresh failed. If Version is not 0, the instance goes on answering from that version.
	Failing State = "failing"
)

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
	Instance string          `json:"instance"`
	Host     string          `json:"host"`
	PID      int             `json:"pid"`
	Started  time.Time       `json:"started"`
	Datasets []DatasetStatus `json:"datasets"`
	// Relays are those that the instance asks, in the configured order.
	Relays []RelayStatus `json:"relays,omitempty"`
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
	// Version is the one that is served, 0 if none is.
	Version uint64 `json:"version"`
	Records int    `json:"records"`
	// Bytes is the resident size of the table.
	Bytes int64  `json:"bytes"`
	State State  `json:"state"`
	From  Origin `json:"from,omitempty"`
	// Error is why the last refresh failed, empty if it did not.
	Error string `json:"error,omitempty"`
	// Warning is what stops neither serving nor refreshing but wants looking after, such as a cache folder that cannot be
	// written; empty if nothing does.
	Warning string `json:"warning,omitempty"`
	// Since is when the dataset came into its state.
	Since    time.Time `json:"since"`
	LastPull Pull      `json:"last_pull,omitzero"`
	// Refreshes counts those since the instance started.
	Refreshes Refreshes `json:"refreshes,omitzero"`
}

// Refreshes counts refreshes that succeeded, by how.
type Refreshes struct {
	Full  uint64 `json:"full"`  // from a snapshot
	Delta uint64 `json:"delta"` // from the version before
	// GaveUp counts those among Full that began with deltas, which did not lead to the version.
	GaveUp      uint64 `json:"gave_up"`
	PulledBytes int64  `json:"pulled_bytes"`
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

// Report is what an instance says at the end of a refresh.
type Report struct {
	// Instance, Host and PID are as in the instance's [Status].
	Instance string `json:"instance"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`
	Dataset  string `json:"dataset"`
	// Version is the one that is now served, or, with an Error, the one that could not be.
	Version     uint64 `json:"version"`
	PulledBytes int64  `json:"pulled_bytes"`
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
	// Error is why the refresh failed; empty if it did not.
	Error string `json:"error,omitempty"`
}
