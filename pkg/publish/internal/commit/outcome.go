package commit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// checkTimeout bounds how long a publisher whose commit failed reads the store to learn the outcome.
const checkTimeout = 5 * time.Second

// ErrUnknown is returned when the store did not answer whether it has the version record.
var ErrUnknown = errors.New("it is not known whether it was committed")

// UnknownError is the ErrUnknown of a version record that may be committed.
type UnknownError struct {
	Record dataset.VersionRecord
	Err    error // of PutVersion
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("commit version %s: %v: %v", e.Record.ID(), ErrUnknown, e.Err)
}

// Unwrap returns ErrUnknown and the cause.
func (e *UnknownError) Unwrap() []error { return []error{ErrUnknown, e.Err} }

// outcome is the result of a PutVersion that failed.
type outcome int

const (
	refused   outcome = iota // the record is not committed, and will not be
	committed                // the store has the record
	taken                    // another record has its number
	unknown
)

// outcome reads what the store has: the answer of PutVersion may be lost, or the request may have been sent twice so that the second
// found the record of the first. It reads even if ctx has ended, because a commit cannot be undone.
func (c *Committer) outcome(ctx context.Context, rec dataset.VersionRecord, failed error) outcome {
	if dial, ok := errors.AsType[*net.OpError](failed); final(failed) || ok && dial.Op == "dial" && !errors.Is(failed, store.ErrUnknown) {
		return refused
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	existing, err := c.store.Version(ctx, rec.Dataset, rec.Version)
	switch {
	case errors.Is(err, store.ErrNotFound) && !mayArrive(failed):
		return refused
	case errors.Is(failed, store.ErrExists) && err != nil:
		return taken
	case err != nil:
		return unknown
	}
	// The creation time, in nanoseconds, distinguishes two publishers of the same content.
	a, errA := rec.Encode()
	b, errB := existing.Encode()
	if errA == nil && errB == nil && bytes.Equal(a, b) {
		return committed
	}
	return taken
}

// final reports whether err of PutVersion says that nothing was written.
func final(err error) bool {
	return errors.Is(err, store.ErrGap) || errors.Is(err, store.ErrUnusable) || errors.Is(err, dataset.ErrVersionRecord)
}

// mayArrive reports whether the request that failed with err may still reach the store: its context ended, or its connection broke.
func mayArrive(err error) bool {
	for _, e := range []error{
		store.ErrUnknown, context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
		syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
