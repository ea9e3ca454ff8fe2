package publisher

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// body is a request's body with a limit for its size and one for the time between two reads. It remembers why reading
// failed, because what reads it reports only what it made of that. A Read may still be under way when the request is answered.
type body struct {
	whole   io.ReadCloser // the request's body
	r       io.Reader     // the same up to the limit
	control *http.ResponseController
	stall   time.Duration

	mu       sync.Mutex // guards what follows, and orders the setting of deadlines
	bytes    int64
	err      error
	finished bool
	reading  chan struct{} // closed when the Read under way has returned; nil if there is none
}

var errFinished = errors.New("the request is answered")

func newBody(w http.ResponseWriter, r *http.Request, limit int64, stall time.Duration) *body {
	b := &body{whole: r.Body, r: http.MaxBytesReader(w, r.Body, limit), control: http.NewResponseController(w), stall: stall}
	// Without it an answer given early would wait for the Read under way, that is, for the client. An error means that
	// w is no network connection, as in a test; so below.
	_ = b.control.EnableFullDuplex()
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.finished {
		b.mu.Unlock()
		return 0, errFinished
	}
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall))
	done := make(chan struct{})
	b.reading = done
	b.mu.Unlock()

	n, err := b.r.Read(p)

	b.mu.Lock()
	defer b.mu.Unlock()
	close(done)
	b.reading = nil
	b.bytes += int64(n)
	if err != nil && b.err == nil && !b.finished {
		b.err = err
		// From here on the server itself reads ahead, to see whether the client hangs up; a deadline would look like that.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// finish lets no further Read begin, and reports whether the whole body was read. If it was not, left is the rest of it.
func (b *body) finish() (left io.ReadCloser, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finished = true
	var tooLarge *http.MaxBytesError
	switch {
	case b.err == io.EOF:
		return http.NoBody, true
	case b.err != nil && !errors.As(b.err, &tooLarge):
		return http.NoBody, false // the client does not send, or not what it should
	}
	return rest{b, b.reading}, false
}

// rest is what is left of a body once the request is answered.
type rest struct {
	*body
	reading <-chan struct{} // closed when the last Read of the body has returned; nil if none was under way
}

// Read waits for the Read under way: what that read is dropped too.
func (r rest) Read(p []byte) (int, error) {
	if r.reading != nil {
		<-r.reading
	}
	return r.whole.Read(p)
}

// Close closes the request's body.
func (r rest) Close() error { return r.whole.Close() }

// failure returns why the body could not be read, or nil if that was not the trouble.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == io.EOF {
		return nil
	}
	return b.err
}

// read returns the number of bytes read.
func (b *body) read() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes
}
