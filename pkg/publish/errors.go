package publish

import (
	"errors"
	"fmt"
	"strings"

	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/input"
	"freshet.dev/pkg/publish/internal/spill"
)

// Errors of Publish and Patch. Nothing was published when they return one, but for ErrUnknown.
var (
	// ErrInput is wrapped by every [*InputError]: the input cannot be published as it is, and trying again does not
	// help.
	ErrInput = errors.New("input refused")
	// ErrEmpty is wrapped, beside ErrInput, when the input has no record.
	ErrEmpty = errors.New("no records")
	// ErrConflict: other publishers committed a version of the dataset each time this one tried to. Trying again may
	// help; better is one publisher for a dataset. A patch whose Base is not the newest version is refused with it too.
	ErrConflict = errors.New("other publishers were faster")
	// ErrTooLarge is wrapped, beside ErrInput, for compressed input that is too large once it is decompressed.
	ErrTooLarge = input.ErrTooLarge
	// ErrBusy is returned for zstd data when the windows of other inputs take the memory that there is for windows, for some
	// seconds. Trying again helps.
	ErrBusy = input.ErrBusy
	// ErrNoVersion: there is no version that a patch could be applied to.
	ErrNoVersion = errors.New("the dataset has no version")
	// ErrStoreID is returned when the file with the store's id is damaged, or names another store than the version records. The
	// message names the files.
	ErrStoreID = history.ErrStoreID
	// ErrUnknown is wrapped by every [*UnknownError]. It is returned when the store did not answer whether it has the version record. The version may exist, now or in a moment.
	// The message says how to find out.
	ErrUnknown = errors.New("it is not known whether it was committed")
	// ErrRequestID is returned when a version of the dataset has Input.RequestID, and other content.
	ErrRequestID = errors.New("the request id was used before, for another request")
	// ErrLost: an object of the newest version is missing in the store or damaged, so that the version can be neither
	// patched nor compacted. A publish of all records heals the dataset.
	ErrLost = history.ErrLost
)

// InputError says what in the input, or in what was said about it, cannot be published.
type InputError struct {
	// Dataset is the dataset that was to be published.
	Dataset string
	// Line is the line of the input, counted from 1 after decompression, that is at fault; 0 if none alone is.
	Line int
	// Key is the record's key, if it is known.
	Key string
	// Problem says what is wrong.
	Problem string
	// Hint says what to do; it may be empty.
	Hint string
	// Err is the cause, if there is one beyond Problem.
	Err error
}

// Error puts all of it into one line.
func (e *InputError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dataset %q: ", e.Dataset)
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
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

// inputError gives what the reading and sorting of the input refuse its public form, and wraps any other error with
// what was being done.
func inputError(name, doing string, err error) error {
	if r, ok := errors.AsType[*input.Refusal](err); ok {
		return &InputError{Dataset: name, Line: r.Line, Key: r.Key, Problem: r.Problem, Hint: r.Hint, Err: r.Err}
	}
	if d, ok := errors.AsType[*spill.DuplicateError](err); ok {
		return &InputError{
			Dataset: name, Line: d.Second, Key: string(d.Key),
			Problem: fmt.Sprintf("the key stands on line %d already", d.First),
			Hint:    "a key may come once; remove one of the two records, or name a member as the key that tells them apart",
		}
	}
	return fmt.Errorf("%s of dataset %q: %w", doing, name, err)
}
