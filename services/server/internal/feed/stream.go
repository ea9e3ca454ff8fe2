package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"
)

// chunk is how many bytes of events are written at a time.
const chunk = 64 << 10

// lastWrite is how long the last write may take after the server began to stop.
const lastWrite = time.Second

// errStalled is returned when a reader does not take what is written.
var errStalled = errors.New("the reader does not read")

// stream writes to a reader and limits how long that may take.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	stop    context.Context // ends when the server stops
}

// write sends b.
func (s *stream) write(b []byte) error {
	for part := range slices.Chunk(b, chunk) {
		s.setDeadline()
		if _, err := s.w.Write(part); err != nil {
			return s.failed(err)
		}
	}
	s.setDeadline()
	return s.failed(s.control.Flush())
}

// setDeadline sets the deadline of the next write.
func (s *stream) setDeadline() {
	// The error says that w is no network connection, as in a test.
	_ = s.control.SetWriteDeadline(time.Now().Add(s.stall))
	if s.stop.Err() != nil { // perhaps since then, and hurry came before the deadline
		s.hurry()
	}
}

// hurry shortens the write in progress. It may be called from another goroutine.
func (s *stream) hurry() {
	_ = s.control.SetWriteDeadline(time.Now().Add(min(lastWrite, s.stall)))
}

func (s *stream) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %d KiB took longer than %s", errStalled, chunk>>10, s.stall)
	}
	return fmt.Errorf("write to the reader: %w", err)
}
