package publish

import (
	"errors"
	"fmt"
	"strings"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/gone"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/commit"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/patch"
	"freshet.dev/pkg/publish/internal/rollback"
	"freshet.dev/pkg/publish/internal/rules"
)

// ErrRunning is returned by Publisher.Run while another Run of the Publisher is in progress.
var ErrRunning = errors.New("publish: another Run of this Publisher is in progress; call Run once")

// Errors of Publish, Patch and Rollback. Nothing was published when they return one, except for ErrUnknown.
var (
	// ErrInput is wrapped by every [*InputError]: the input cannot be published as it is, and a retry does not help.
	ErrInput = errors.New("input refused")
	// ErrEmpty is wrapped, with ErrInput, when the input has no record.
	ErrEmpty = build.ErrEmpty
	// ErrConflict is returned when other publishers committed a version of the dataset each time this one tried to. A retry may help;
	// better is one publisher for a dataset. A patch whose Base is not the newest version is refused with it too.
	ErrConflict = commit.ErrConflict
	// ErrTooLarge is wrapped, with ErrInput, for an input that is too large once it is decompressed or parsed.
	ErrTooLarge = input.ErrTooLarge
	// ErrBusy is returned for zstd data when the windows of other inputs take the memory for windows for some seconds. A retry helps.
	ErrBusy = input.ErrBusy
	// ErrNoVersion is returned when the dataset has no version to patch, to roll back or to delete.
	ErrNoVersion = patch.ErrNoVersion
	// ErrStoreID is returned when the file with the store's id is damaged, or names another store than the version records. The
	// message names the files.
	ErrStoreID = versions.ErrStoreID
	// ErrUnknown is wrapped by every [*UnknownError]. It is returned when the store did not answer whether it has the version record.
	// The version may exist, now or in a moment. The message says how to find out.
	ErrUnknown = commit.ErrUnknown
	// ErrRequestID is returned when a version of the dataset has Input.RequestID, and other content.
	ErrRequestID = commit.ErrRequestID
	// ErrLost is returned when an object of a version is missing in the store or damaged, so that the version can be neither patched,
	// compacted nor restored by a rollback. A publish of all records heals the newest version.
	ErrLost = versions.ErrLost
	// ErrGone is returned by Rollback when the objects of the version were removed, because the retention of the dataset does not keep it.
	ErrGone = gone.ErrGone
	// ErrGate is wrapped by every [*GateError].
	ErrGate = errors.New("refused by a gate")
	// ErrDeleted is returned by Patch when the newest version deletes the dataset, and by Rollback when the version to restore does.
	ErrDeleted = patch.ErrDeleted
	// ErrKey is wrapped, with ErrInput, when an input names another key than its dataset has.
	ErrKey = rules.ErrKey
	// ErrUnknownVersion is returned by Rollback when the dataset does not have the version.
	ErrUnknownVersion = rollback.ErrUnknownVersion
)

// InputError says what in the input, or in its description, cannot be published.
type InputError struct {
	// Dataset is the dataset of the publish.
	Dataset string
	// File is the name of the file of Input.Files that is at fault; empty for another input.
	File string
	// Line is the line of the input, or of the file, that is at fault, counted from 1 after decompression; 0 if none alone is.
	Line int
	// Record is the number of the record in Input.Records, or of the row of a Parquet file, that is at fault, counted from 1; 0 if none
	// alone is.
	Record int
	// Key is the record's key, if it is known.
	Key string
	// Problem says what is wrong.
	Problem string
	// Hint says what to do; it may be empty.
	Hint string
	// Err is the cause, if there is one beyond Problem.
	Err error
}

// Error returns all of it in one line.
func (e *InputError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dataset %q: ", e.Dataset)
	if e.File != "" {
		fmt.Fprintf(&b, "file %.200q: ", e.File)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Record > 0 {
		fmt.Fprintf(&b, "record %d: ", e.Record)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, "key %.64q: ", e.Key)
	}
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns ErrInput and the cause.
func (e *InputError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrInput}
	}
	return []error{ErrInput, e.Err}
}

// UnknownError is the [ErrUnknown] of a version record that may be committed.
type UnknownError struct {
	// Record is the version that may exist. It exists if the store has a version with its number and its id.
	Record dataset.VersionRecord
	// Err is the error of the store.
	Err error
}

// Error says how to find out.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("commit version %s: %v: %v; the version exists if `freshet versions %s` shows version %d with the id %s",
		e.Record.ID(), ErrUnknown, e.Err, e.Record.Dataset, e.Record.Version, e.Record.VersionID().Short())
	if e.Record.RequestID != "" {
		return text + fmt.Sprintf("; to be sure, repeat the request with its id %s, within an hour and %d versions: it makes no second version",
			e.Record.RequestID, commit.RequestVersions)
	}
	return text
}

// Unwrap returns ErrUnknown and the cause.
func (e *UnknownError) Unwrap() []error { return []error{ErrUnknown, e.Err} }

// publicError gives a refusal of the input, of a gate and an unknown outcome their public types, and returns any other error as it is.
func publicError(name string, err error) error {
	if r, ok := errors.AsType[*input.Refusal](err); ok {
		return &InputError{Dataset: name, File: r.File, Line: r.Line, Record: r.Record, Key: r.Key, Problem: r.Problem, Hint: r.Hint, Err: r.Err}
	}
	if u, ok := errors.AsType[*commit.UnknownError](err); ok {
		return &UnknownError{u.Record, u.Err}
	}
	if g, ok := errors.AsType[*commit.GateError](err); ok {
		return &GateError{Dataset: g.Dataset, Base: g.Base, Refusals: g.Refusals}
	}
	return err
}
