package publish

import (
	"fmt"
	"io"
	"iter"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/rules"
)

// Input is what one call of Publish publishes, or Patch applies. Its records come from one of Body, Files and Records: for Publish all of
// the dataset's, for Patch those to add, change or remove.
type Input struct {
	// Body is a text of records, or a Parquet file. It is read to its end once. If Publish returns early, because ctx ended or the input was
	// refused, a Read in progress goes on, so that an idle pipe does not block Publish. No other goroutine may read Body even then.
	//
	// A Parquet file is read from its end: an [os.File] on disk is read in place, from its offset on; any other Body is copied to
	// Config.TempDir first.
	Body io.Reader
	// Files is a sequence of at most MaxFiles bodies, each in its own format: together they have the records. The end of one is read before
	// the next is yielded. Publish ranges over Files once, on the goroutine that called it. If Files yields an error, Publish
	// returns an error that wraps it. A file may have no record if another has some.
	Files iter.Seq2[File, error]
	// Format is the format of Body; FormatAuto detects NDJSON, JSON or Parquet by the first characters.
	Format Format
	// Key names the member (column) of Body or Files that holds a record's key. If it is empty, the setting key of the dataset names it, and
	// DefaultKey if that is not set. The first publish sets it; another Key is refused with ErrKey from then on: see Config.FillSettings.
	Key string
	// Keys names the members of Body that make a record's key together, in the order of [dataset.JoinKey]; Key is then empty.
	Keys []string
	// Records is a sequence of records; [Pairs] makes one of a map. Keys and values are any bytes within the limits of package dataset.
	// An empty or nil value is a value. Removed marks a removal, which only Patch accepts.
	//
	// Publish copies each record, so that Records may reuse the bytes for the next. It ranges over Records once, on the goroutine that
	// called Publish, and returns after Records has returned. It stops at the next record when ctx ends; a sequence that waits must watch
	// ctx itself. If Records yields an error, Publish returns an error that wraps it. If Records panics, the panic passes to the caller. In
	// both cases nothing is published.
	Records iter.Seq2[dataset.Record, error]
	// Source names the publisher, for people to read; if empty, Config.Source.
	Source string
	// Labels are kept with the version: up to 32, names and values up to 256 bytes.
	Labels map[string]string
	// ExpectEvery promises a new version at least so often, [dataset.MinExpectEvery] or more: without one an instance reports the
	// dataset as overdue. 0 ends a promise, nil keeps that of the version before. Input that changes nothing also makes a version if the
	// promise changes, or if a third of its time has passed: the version then confirms the data.
	ExpectEvery *time.Duration
	// RequestID makes a retry safe. A call whose id a version of the dataset already has makes no version; its result is that version
	// (Result.Repeated). The search covers the versions of the last hour before the call, the last 1,000 at most, and those that are
	// committed during the call. Draw a new id, such as a UUID, for each request, and retry the request with it within that time until
	// the answer is known. A request that makes no version, because the content is that of the newest, leaves no trace of its id. Empty
	// means no id.
	RequestID string
	// AllowShrink passes the gates about fewer records and bytes (see [dataset.Gates]). It needs a Reason.
	AllowShrink bool
	// By is who publishes, such as "user@host", and Reason is why. Both are kept with the version: 256 and 1,024 bytes of one line.
	// Nothing verifies By.
	By, Reason string
	// DryRun says what the call would do, in Result.Preview: nothing is committed, and nothing is written to the store.
	DryRun bool
	// Progress, if not nil, is called from time to time from one goroutine at a time, and for each new phase. It should return at
	// once: nothing is read while it runs.
	Progress func(Progress)

	ruling *rules.Ruling // of Body; nil for Records
	// removals is PatchInput.Remove; empty for Publish, which accepts no removals.
	removals string
}

// emptyHint is the hint for an input without records.
func (in Input) emptyHint() string {
	if in.removals != "" {
		return "a patch has one at least; look at what writes the input"
	}
	return "a version holds one at least; look at what writes the input"
}

// Progress is how far a Publish is.
type Progress struct {
	Phase Phase
	// BytesRead counts the bytes read from Input.Body, before decompression, or those of the keys and values of Input.Records.
	BytesRead int64
	// Records counts the records read or, when sorting, written in their order.
	Records uint64
}

// Phase is a stage of Publish. Phases follow one another in the order of their values; some may be skipped.
type Phase uint8

// The phases of Publish.
const (
	// PhaseReading reads and checks the input.
	PhaseReading = Phase(build.Reading)
	// PhaseSorting compares the records with the version before, in the order of the keys' hashes.
	PhaseSorting = Phase(build.Sorting)
	// PhaseStoring puts the delta and, if one is due, the snapshot into the store.
	PhaseStoring = Phase(build.Storing)
	// PhaseAnnouncing announces the committed version.
	PhaseAnnouncing = Phase(build.Announcing)
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

// CheckInput returns an error if in cannot be published as the dataset called name because of its name, key, format, promise, request
// id, labels, author or reason. It reads neither Body nor Records. Publish calls it first; a service calls it before it accepts a body.
func CheckInput(name string, in Input) error {
	refuse := func(problem, hint string, err error) error {
		return &InputError{Dataset: name, Problem: problem, Hint: hint, Err: err}
	}
	if err := dataset.CheckName(name); err != nil {
		return refuse(err.Error(), "", err)
	}
	switch {
	case in.Body == nil && in.Files == nil && in.Records == nil:
		return refuse("there is no input to read", "set Body, Files or Records", nil)
	case in.Records != nil && (in.Body != nil || in.Files != nil), in.Body != nil && in.Files != nil:
		return refuse("two of Body, Files and Records are set", "set one of them", nil)
	case in.Records != nil && (len(in.keys()) > 0 || in.Format != FormatAuto):
		return refuse("Key and Format describe Body, and Records is set", "leave both unset", nil)
	case in.Files != nil && in.Format != FormatAuto:
		return refuse("Format describes Body, and Files is set", "set the Format of each file", nil)
	case in.Key != "" && len(in.Keys) > 0:
		return refuse("Key and Keys are both set", "set one of them", nil)
	case in.Format > FormatParquet:
		return refuse("the format is unknown", "use one of "+formatNames, nil)
	case in.AllowShrink && in.Reason == "":
		return refuse("--allow-shrink (AllowShrink) is set without a reason", "say why with --reason TEXT (reason over HTTP, Reason in Go)", nil)
	}
	if err := dataset.CheckKeyMembers(in.keys()); err != nil {
		return refuse(err.Error(), "", err)
	}
	if err := checkPromise(in.ExpectEvery); err != nil {
		return refuse(err.Error(), fmt.Sprintf("promise %v to %v, or 0 to end a promise", dataset.MinExpectEvery, dataset.MaxExpectEvery), err)
	}
	if in.RequestID != "" {
		if err := dataset.CheckRequestID(in.RequestID); err != nil {
			return refuse(err.Error(), "", err)
		}
	}
	// The fields of the version record that are known before the body is read.
	trial := dataset.VersionRecord{
		Dataset: name, Version: 1, Created: time.Unix(0, 0), Source: in.Source, Labels: in.Labels,
		By: in.By, Reason: in.Reason,
		Snapshot: dataset.Object{Version: 1, Digest: dataset.Digest{1}, Bytes: 1},
	}
	if err := trial.Check(); err != nil {
		return refuse(err.Error(), "", err)
	}
	return nil
}

// keys returns the members that the input names as the key; nil if it names none.
func (in Input) keys() []string {
	if in.Key != "" {
		return []string{in.Key}
	}
	return in.Keys
}

// meter reports progress to in.Progress.
func (in Input) meter() *build.Meter {
	return build.NewMeter(func(p build.Progress) {
		in.Progress(Progress{Phase: Phase(p.Phase), BytesRead: p.BytesRead, Records: p.Records})
	})
}

// meta is what in adds to the records. Fill has set its source.
func (p *Publisher) meta(in Input) build.Meta {
	return build.Meta{
		Source: in.Source, DefaultSource: in.Source == p.cfg.Source, Labels: in.Labels, ExpectEvery: in.ExpectEvery, RequestID: in.RequestID,
		By: in.By, Reason: in.Reason,
	}
}

// checkPromise returns an error if every cannot be promised.
func checkPromise(every *time.Duration) error {
	if every == nil || *every == 0 || *every >= dataset.MinExpectEvery && *every <= dataset.MaxExpectEvery {
		return nil
	}
	return fmt.Errorf("a new version every %v cannot be promised", *every)
}
