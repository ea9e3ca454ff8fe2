package publish

import (
	"fmt"
	"io"
	"time"

	"freshet.dev/pkg/dataset"
)

// Input is what one call of Publish publishes, or Patch applies.
type Input struct {
	// Body yields the records: for Publish all of the dataset's, for Patch those to be added, changed or removed. It is
	// read to its end once. A Read that is under way when Publish returns early (because ctx ended or the input was
	// refused) is left to end by itself, so that a pipe nobody writes to holds nobody up; Body must not be read by
	// others even then.
	Body io.Reader
	// Format is how Body writes records down; FormatAuto tells NDJSON from JSON by the first character.
	Format Format
	// Key names the member (column) that holds a record's key.
	Key string
	// Source says who publishes, for people to read; if empty, Config.Source.
	Source string
	// Labels are kept with the version: up to 32, names and values up to 256 bytes.
	Labels map[string]string
	// ExpectEvery promises a new version at least so often, [dataset.MinExpectEvery] or more: without one an instance says that
	// the dataset is overdue. 0 ends a promise, nil keeps that of the version before. Input that changes nothing makes a
	// version too when the promise is another than before, or when a third of its time has passed: that the data is still
	// right is news then.
	ExpectEvery *time.Duration
	// RequestID makes a repetition safe. A call whose id a version of the dataset already has makes no version; its result is that
	// version (Result.Repeated). It searches the versions of the last hour, the last 1,000 at most, when the call begins and
	// what others commit until it ends. Draw a new id, such as a UUID, for each request, and repeat the request with it within that time
	// until the answer is known. A request that makes no version, because the content is that of the newest, leaves no trace of its id.
	// Empty: none.
	RequestID string
	// Progress, if not nil, is called now and then from one goroutine at a time, and for each new phase. It should
	// return at once: nothing is read while it runs.
	Progress func(Progress)

	// removals is PatchInput.Remove; empty for a whole dataset, which has none.
	removals string
}

func (in Input) emptyHint() string {
	if in.removals != "" {
		return "a patch has one at least; look at what writes the input"
	}
	return "a version holds one at least; look at what writes the input"
}

// Progress says how far a Publish is.
type Progress struct {
	Phase Phase
	// BytesRead counts the bytes taken from Input.Body, as they came (compressed).
	BytesRead int64
	// Records counts the records read or, when sorting, written in their order.
	Records uint64
}

// Phase is a step of Publish. Phases follow one another in the order of their values; some may be left out.
type Phase uint8

// The phases of Publish.
const (
	PhaseReading    Phase = iota + 1 // reading and checking the input
	PhaseSorting                     // comparing the records with the version before, in the order of the keys' hashes
	PhaseStoring                     // putting the delta and, if one is due, the snapshot into the store
	PhaseAnnouncing                  // the version is committed and is being announced
)

// String returns the phase's name.
func (p Phase) String() string {
	switch p {
	case PhaseReading:
		return "reading"
	case PhaseSorting:
		return "sorting"
	case PhaseStoring:
		return "storing"
	case PhaseAnnouncing:
		return "announcing"
	}
	return "unknown"
}

// CheckInput says why in cannot be published as the dataset called name, as far as can be said without reading its
// Body: a wrong name, key, format or labels. Publish calls it first; a service calls it before it accepts a body.
func CheckInput(name string, in Input) error {
	refuse := func(problem, hint string, err error) error {
		return &InputError{Dataset: name, Problem: problem, Hint: hint, Err: err}
	}
	if err := dataset.CheckName(name); err != nil {
		return refuse(err.Error(), "", err)
	}
	switch {
	case in.Body == nil:
		return refuse("there is no input to read", "set Body", nil)
	case in.Key == "":
		return refuse("no member is named to hold the key of a record", "name one, for example id", nil)
	case in.Format > FormatCSV:
		return refuse("the format is unknown", "use one of "+formatNames, nil)
	}
	if err := checkPromise(in.ExpectEvery); err != nil {
		return refuse(err.Error(), fmt.Sprintf("promise %v to %v, or 0 to end a promise", dataset.MinExpectEvery, dataset.MaxExpectEvery), err)
	}
	if in.RequestID != "" {
		if err := dataset.CheckRequestID(in.RequestID); err != nil {
			return refuse(err.Error(), "", err)
		}
	}
	// A version record that differs from the one to come only in what is not known yet.
	trial := dataset.VersionRecord{
		Dataset: name, Version: 1, Created: time.Unix(0, 0), Source: in.Source, Labels: in.Labels,
		Snapshot: dataset.Object{Version: 1, Digest: dataset.Digest{1}, Bytes: 1},
	}
	if err := trial.Check(); err != nil {
		return refuse(err.Error(), "", err)
	}
	return nil
}

// meter calls Input.Progress.
type meter struct {
	call  func(Progress)
	bytes int64
	last  Progress
}

// report tells of progress. What was told already is not: after a lost race, and for a snapshot that turns out to be due,
// the records are gone through again.
func (m *meter) report(phase Phase, records uint64) {
	now := Progress{Phase: phase, BytesRead: m.bytes, Records: records}
	if phase < m.last.Phase || phase == m.last.Phase && records < m.last.Records {
		return
	}
	m.last = now
	m.call(now)
}
