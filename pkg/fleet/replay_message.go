package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

// ReplayState is the progress of a replay by one instance.
type ReplayState string

// The states of a replay. An instance reports the first four. [Replay] adds the others for instances that do not report an end.
const (
	// ReplayWorking: the instance is taking the version in again.
	ReplayWorking ReplayState = "working"
	// ReplayDone: the instance has taken the version in again, and all callbacks and eager views of the service have followed.
	ReplayDone ReplayState = "done"
	// ReplayFailed: a pull failed, and the table before is still served; or a callback panicked.
	ReplayFailed ReplayState = "failed"
	// ReplayRefused: the instance did nothing, because it does not serve the requested version, for example.
	ReplayRefused ReplayState = "refused"
	// ReplaySilent: the instance does not answer, or no longer.
	ReplaySilent ReplayState = "silent"
	// ReplayUnable: the release of the instance has no replays.
	ReplayUnable ReplayState = "unable"
	// ReplayUnfinished: the instance was still working when the time was over. It goes on.
	ReplayUnfinished ReplayState = "unfinished"
)

// Ended reports whether the state is final.
func (s ReplayState) Ended() bool { return s != "" && s != ReplayWorking }

// ReplayRequest is a request to one instance to take the version that it serves in again.
type ReplayRequest struct {
	// ID identifies the replay: an instance that did it answers a repeated request with the same result (see [dataset.CheckRequestID]).
	ID string `json:"id"`
	// Attempt identifies the call of [Replay] that sends the request; it sets the field. An instance whose replay failed tries again for
	// another attempt.
	Attempt string `json:"attempt"`
	Dataset string `json:"dataset"`
	// Version is the version that must be served; 0 for any. VersionID is its id; zero for any.
	Version   uint64            `json:"version,omitempty"`
	VersionID dataset.VersionID `json:"version_id,omitzero"`
	// From is the version since which the callbacks get the changes; 0 for none. The instance pulls the snapshot for them.
	From uint64 `json:"from_version,omitempty"`
	// Full makes the instance pull the snapshot again and replace its table.
	Full bool `json:"full,omitempty"`
	// By and Reason are for the instance's log.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Same reports whether r and o request the same of a dataset.
func (r ReplayRequest) Same(o ReplayRequest) bool {
	return r.Dataset == o.Dataset && r.Version == o.Version && r.VersionID == o.VersionID && r.From == o.From && r.Full == o.Full
}

// Check returns an error if the request is not valid.
func (r ReplayRequest) Check() error {
	if err := dataset.CheckName(r.Dataset); err != nil {
		return err
	}
	if r.ID == "" {
		return errors.New("the replay has no id")
	}
	if err := dataset.CheckRequestID(r.ID); err != nil {
		return fmt.Errorf("the id of the replay: %w", err)
	}
	if r.Version > 0 && r.From >= r.Version {
		return fmt.Errorf("the changes since version %d end at version %d; name an earlier version", r.From, r.Version)
	}
	return dataset.CheckAudit(r.By, r.Reason)
}

// NoChangesSince returns why an instance that loads rec from its snapshot has no changes since an earlier version; empty if it has. Deltas
// of the record that end at the snapshot or before do not help.
func NoChangesSince(rec dataset.VersionRecord, version uint64) string {
	switch {
	case version >= rec.Snapshot.Version:
		return ""
	case rec.Snapshot.Version == rec.Version:
		return fmt.Sprintf("version %d is loaded from its snapshot alone, so there are no changes since version %d; leave that version out", rec.Version, version)
	}
	return fmt.Sprintf("version %d is loaded from the snapshot of version %d, so there are changes since that and not since version %d; name that or a later one, or leave it out",
		rec.Version, rec.Snapshot.Version, version)
}

// maxReplayRequest bounds a request. By and Reason have a few KiB at most.
const maxReplayRequest = 16 << 10

// decodeReplay returns the content of a request.
func decodeReplay(data []byte) (ReplayRequest, error) {
	var r ReplayRequest
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("the request is not readable: %w", err)
	}
	return r, r.Check()
}

// ReplayReport is an instance's own report on a replay.
type ReplayReport struct {
	State ReplayState `json:"state"`
	// Version and ID are the served version's; Version is 0 if the instance serves none, or has not begun.
	Version uint64            `json:"version,omitempty"`
	ID      dataset.VersionID `json:"id,omitzero"`
	// Full reports that the instance pulled the snapshot and replaced its table. PulledBytes came over the network, Deltas were applied to
	// the snapshot.
	Full        bool  `json:"full,omitempty"`
	PulledBytes int64 `json:"pulled_bytes,omitempty"`
	Deltas      int   `json:"deltas,omitempty"`
	// Callbacks is how many callbacks and eager views of the service got the version again.
	Callbacks int `json:"callbacks"`
	// Duration is the time from the request to the end of the last callback, in nanoseconds; while the instance works, the time so far.
	Duration time.Duration `json:"duration_ns,omitempty"`
	// Repeated reports that an earlier request with the id did the replay, and this one did nothing.
	Repeated bool `json:"repeated,omitempty"`
	// Error is why the instance failed or refused. While it works, it is what the instance waits for, or the error of the last try.
	Error string `json:"error,omitempty"`
}

// encodeReport returns the report as JSON of at most limit bytes, or so. Its text is one line.
func encodeReport(r ReplayReport) ([]byte, error) {
	r.Error = truncate(strings.Join(strings.Fields(r.Error), " "))
	return json.Marshal(r)
}
