package pull

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNotFound is wrapped by the error of a call that every relay answered with 404.
	ErrNotFound = errors.New("not found at any relay")
	// ErrAnswer is wrapped by the error of a relay whose answer is not what was asked for: a wrong length, ETag or
	// body.
	ErrAnswer = errors.New("unusable answer")
	// ErrStalled is wrapped by the error of a relay that sent nothing for longer than a timeout.
	ErrStalled = errors.New("the relay stalled")
)

// Error is the error of a call that no relay answered as it should, with what each of them said.
type Error struct {
	// What was asked for.
	What string
	// Attempts are in the order in which the relays were asked.
	Attempts []Attempt
}

// Attempt is how one relay failed.
type Attempt struct {
	// Relay is the relay's base URL without its password.
	Relay string
	// Status is that of the response; 0 if there was none.
	Status int
	// RetryAfter is how long the relay asked to be left alone; 0 if it did not.
	RetryAfter time.Duration
	Err        error

	store   string // the relay's StoreHeader
	damaged bool   // it says that the object is damaged in its store
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pull %s: ", e.What)
	if e.notFound() {
		fmt.Fprintf(&b, "%v: ", ErrNotFound)
	}
	for i, a := range e.Attempts {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "relay %s: %v", a.Relay, a.Err)
	}
	return b.String()
}

// Unwrap returns the error of each attempt.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		errs[i] = a.Err
	}
	return errs
}

// Is reports whether e is [ErrNotFound]: only if every relay said so, because one that is down may have it.
func (e *Error) Is(target error) bool { return target == ErrNotFound && e.notFound() }

func (e *Error) notFound() bool {
	for _, a := range e.Attempts {
		if a.Status != http.StatusNotFound {
			return false
		}
	}
	return len(e.Attempts) > 0
}

// busy reports whether the relay said that it may answer later.
func (a Attempt) busy() bool {
	return a.RetryAfter > 0 && (a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests)
}

func (e *Error) busy() bool { return slices.ContainsFunc(e.Attempts, Attempt.busy) }

func (e *Error) allBusy() bool {
	return !slices.ContainsFunc(e.Attempts, func(a Attempt) bool { return !a.busy() })
}

// RetryAfter returns how long to wait before another call: the shortest time that a relay asked for, because that one
// may answer then. It is 0 when a relay failed without naming a time.
func (e *Error) RetryAfter() time.Duration {
	var least time.Duration
	for i, a := range e.Attempts {
		if i == 0 || a.RetryAfter < least {
			least = a.RetryAfter
		}
	}
	return least
}
