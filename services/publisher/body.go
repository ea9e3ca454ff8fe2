package publisher

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// bodyLimits bounds the size and the time of a body.
type bodyLimits struct {
	bytes int64
	stall time.Duration // between two reads, and over which rate is measured
	rate  int64         // least bytes a second
	time  time.Duration // from the first byte to the last
}

// slowError is returned when a client is slower than its limits allow.
type slowError struct{ detail string }

func (e *slowError) Error() string { return e.detail }

// body is a request's body with limits for its size and time. It records why reading failed, because its reader may return a different
// error. A Read may still be in progress when the request is answered.
type body struct {
	r       io.Reader
	control *http.ResponseController
	limits  bodyLimits
	began   time.Time // of the first Read; zero before

	// For the client's rate, used by one Read at a time: how long Read has waited for bytes since the last check, and how many came.
	waited time.Duration
	came   int64

	mu       sync.Mutex // guards what follows, and orders the setting of deadlines
	bytes    int64
	err      error
	finished bool
	reading  bool      // a Read is in progress
	returned time.Time // when the last Read returned; when the body was made, before
}

var errFinished = errors.New("the request is answered")

func newBody(w http.ResponseWriter, r *http.Request, limits bodyLimits) *body {
	return &body{r: http.MaxBytesReader(w, r.Body, limits.bytes), control: http.NewResponseController(w), limits: limits, returned: time.Now()}
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.finished {
		b.mu.Unlock()
		return 0, errFinished
	}
	start := time.Now()
	if b.began.IsZero() {
		b.began = start // the client is not responsible for the wait for a slot and the store
	}
	deadline, end := start.Add(b.limits.stall), b.began.Add(b.limits.time)
	if deadline.After(end) {
		deadline = end
	}
	// An error means that the response writer is no network connection, as in a test. The same holds below.
	_ = b.control.SetReadDeadline(deadline)
	b.reading = true
	b.mu.Unlock()

	n, err := b.r.Read(p)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		if slow := b.pace(time.Now(), start, n); slow != nil {
			err = slow
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes += int64(n)
	b.reading, b.returned = false, time.Now()
	if err != nil && b.err == nil && !b.finished {
		b.err = err
		// From here on the server reads ahead to detect a client that disconnects. A deadline would look like one.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// pace returns an error if the client, which sent n bytes from start to now, is too slow.
func (b *body) pace(now, start time.Time, n int) error {
	took := now.Sub(start)
	if now.Sub(b.began) >= b.limits.time {
		return &slowError{fmt.Sprintf("the body took longer than %v, what FRESHET_BODY_TIME allows", b.limits.time)}
	}
	if took >= b.limits.stall && n == 0 {
		return &slowError{fmt.Sprintf("the body sent nothing for %v, what FRESHET_BODY_STALL allows", b.limits.stall)}
	}
	b.waited += took
	b.came += int64(n)
	if b.waited < b.limits.stall {
		return nil
	}
	if float64(b.came) < float64(b.limits.rate)*b.waited.Seconds() {
		return &slowError{fmt.Sprintf("the body sent %d bytes in %v, and FRESHET_BODY_RATE asks for %d bytes a second",
			b.came, b.waited.Round(time.Millisecond), b.limits.rate)}
	}
	b.waited, b.came = 0, 0
	return nil
}

// finish makes later Reads fail.
func (b *body) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finished = true
}

// failure returns the error of reading the body, nil if there was none.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// unread reports whether nothing has read the body for the given time, although its reading has not failed.
func (b *body) unread(d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.reading && !b.finished && (b.err == nil || b.err == io.EOF) && time.Since(b.returned) >= d
}

// read returns the number of bytes read.
func (b *body) read() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
