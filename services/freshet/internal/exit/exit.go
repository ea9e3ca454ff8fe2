// Package exit defines the exit codes of the freshet command. Help, operations.md and tests read [Codes]. Commands return errors with a
// code from [With]; main calls [Of].
package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Code is the exit code of a process.
type Code int

// The exit codes. Scripts rely on them: the meaning of a code must not change.
const (
	OK          Code = 0
	Failure     Code = 1
	Usage       Code = 2
	Refused     Code = 3
	Conflict    Code = 4
	NotFound    Code = 5
	TimedOut    Code = 6
	Stale       Code = 7
	NoInstance  Code = 8
	Disagree    Code = 9
	Findings    Code = 10
	Interrupted Code = 130
)

// Meaning is one row of the table of exit codes.
type Meaning struct {
	Code Code
	Text string
}

// Codes lists every code with its meaning, in ascending order.
var Codes = [...]Meaning{
	{OK, "done"},
	{Failure, "failed: a service cannot be reached, a port is taken, a folder cannot be written, a version record is damaged"},
	{Usage, "wrong arguments, flags or settings"},
	{Refused, "the publisher refused the input, and nothing was published; or an instance refuses remote gets (get --instance) or a scan"},
	{Conflict, "nothing was published: other publishers committed versions at the same time, or the newest version is not --base"},
	{NotFound, "no such dataset, version, key, instance, label or pin; or the bytes of the version are gone, because retention does not keep them"},
	{TimedOut, "published, but not every instance served the version within --wait-timeout, or it was not announced because the event log holds versions of another store, or of another copy of the store; or an instance did not answer in time (get --instance), did not do what it should (replay, pin --wait, unpin --wait), or does not serve the version yet (get --at-least)"},
	{Stale, "stale: an instance does not serve the newest version, or cannot know it (status --fail-if-stale)"},
	{NoInstance, "published, but no live instance has the dataset, or all that have it are pinned to another version (publish --wait)"},
	{Disagree, "the instances do not serve the same value (get --instance, --label or --all)"},
	{Findings, "verify found something that is lost, damaged or out of step, and that is not repaired"},
	{Interrupted, "stopped by Ctrl-C or SIGTERM before it was done"},
}

// Text returns the table of exit codes for a help text, one indented line a code.
func Text() string {
	var b strings.Builder
	for _, c := range Codes {
		fmt.Fprintf(&b, "  %3d  %s\n", c.Code, c.Text)
	}
	return b.String()
}

// Error is an error with an exit code.
type Error struct {
	Code Code
	Err  error
}

// Error returns the message of the error within.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error within.
func (e *Error) Unwrap() error { return e.Err }

// With returns err with an exit code; nil stays nil.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// Errorf returns a new error with an exit code, formatted as [fmt.Errorf] does.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Of returns the exit code for err: the code of the outermost [Error] in err, else Interrupted for a cancelled context, else
// Failure. It returns OK for nil.
func Of(err error) Code {
	if err == nil {
		return OK
	}
	if coded, ok := errors.AsType[*Error](err); ok {
		return coded.Code
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	return Failure
}
