package pull

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/dataset"
)

var (
	// ErrNotFound is returned when every relay answers with 404.
	ErrNotFound = errors.New("not found at any relay")
	// ErrAnswer is returned when a relay's answer does not fit the request: a wrong length, ETag or body.
	ErrAnswer = errors.New("unusable answer")
	// ErrStalled is returned when a relay sends nothing for longer than a timeout.
	ErrStalled = errors.New("the relay stalled")
	// ErrDamaged is returned when a relay reports that its store holds other bytes than those of the object. Relays report
	// this only for requests with Cache-Control: no-cache.
	ErrDamaged = errors.New("the object is damaged in the store")
)

// damagedError is an [ErrDamaged] with the relay's description as its text.
type damagedError string

func (e damagedError) Error() string        { return string(e) }
func (e damagedError) Is(target error) bool { return target == ErrDamaged }

// Error is returned when no relay gives a usable answer. It holds how each of them failed.
type Error struct {
	// What names the requested thing.
	What string
	// Attempts are in the order of the requests.
	Attempts []Attempt
}

// Attempt is how one relay failed.
type Attempt struct {
	// Relay is the relay's base URL without its password.
	Relay string
	// Status is that of the response; 0 if there was none.
	Status int
	// RetryAfter is the time in the answer's Retry-After header, or [Config.RetryAfter] without one.
	RetryAfter time.Duration
	Err        error

	store    dataset.StoreID // in the relay's StoreHeader; zero if it names none
	rejected bool            // by the caller, which is not a failure of the relay
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

// Is reports whether e is [ErrNotFound]: only if every relay answered 404, because a relay that is down may have it.
func (e *Error) Is(target error) bool { return target == ErrNotFound && e.notFound() }

func (e *Error) notFound() bool { return len(e.Attempts) > 0 && every(e.Attempts, Attempt.notFound) }

func (a Attempt) notFound() bool { return a.Status == http.StatusNotFound }

func (a Attempt) damaged() bool { return errors.Is(a.Err, ErrDamaged) }

// Busy reports whether the relay answered that it has too much to do and may answer later.
func (a Attempt) Busy() bool {
	return a.RetryAfter > 0 && (a.Status == http.StatusServiceUnavailable || a.Status == http.StatusTooManyRequests)
}

func (e *Error) busy() bool { return slices.ContainsFunc(e.Attempts, Attempt.Busy) }

func (e *Error) allBusy() bool { return every(e.Attempts, Attempt.Busy) }

func every(attempts []Attempt, is func(Attempt) bool) bool {
	return !slices.ContainsFunc(attempts, func(a Attempt) bool { return !is(a) })
}

// RetryAfter returns how long to wait before another call: the shortest time of all attempts. It is 0 if a relay failed
// without naming a time.
func (e *Error) RetryAfter() time.Duration {
	if len(e.Attempts) == 0 {
		return 0
	}
	return slices.MinFunc(e.Attempts, func(a, b Attempt) int { return int(a.RetryAfter - b.RetryAfter) }).RetryAfter
}
