// Package tape keeps records in a temporary file, in the order of their addition, to be read as often as needed.
//
// It holds the entries of a delta, because their length decides how they are written, and the sorted records of a patch, which are needed
// again after a lost race. Records stand in the file as package dataset encodes them, one after the other. A few stay in memory, because a
// small patch takes less time than its files would.
package tape

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"freshet.dev/pkg/dataset"
)

const (
	// heldBytes is how much stays in memory before it is written: the records of a patch of about a thousand.
	heldBytes = 256 << 10
	// readBytes is the size of the read buffer: larger ones are no faster.
	readBytes = 64 << 10
)

// Tape is a file of records. Its methods are for one goroutine.
type Tape struct {
	path    string
	f       *os.File // nil until held is written for the first time
	held    []byte   // the bytes after those in the file
	entries uint64
	bytes   int64
}

// New returns a Tape that creates the file at path, which must not exist, if it needs one.
func New(path string) *Tape { return &Tape{path: path} }

// Add appends a record, which must pass [dataset.Record.Check]; it may be a removal.
func (t *Tape) Add(r dataset.Record) error {
	before := len(t.held)
	t.held = dataset.AppendRecord(t.held, r)
	t.entries++
	t.bytes += int64(len(t.held) - before)
	if len(t.held) < heldBytes {
		return nil
	}
	var err error
	if t.f == nil {
		if t.f, err = os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("make a temporary file: %w", err)
		}
	}
	if _, err = t.f.Write(t.held); err != nil {
		return fmt.Errorf("write records to a temporary file: %w; a folder with more room can be named as TempDir", err)
	}
	t.held = t.held[:0]
	return nil
}

// Entries returns the number of records.
func (t *Tape) Entries() uint64 { return t.entries }

// RawBytes returns the sum of the records' encoded lengths.
func (t *Tape) RawBytes() int64 { return t.bytes }

// Records yields the records in the order of their addition. A record is valid until the next. No record may be added while it runs;
// afterwards it can be called again.
func (t *Tape) Records() iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		more := true
		if t.f != nil {
			var err error
			if more, err = t.file(yield); err != nil {
				yield(dataset.Record{}, fmt.Errorf("read records from a temporary file: %w", err))
				return
			}
		}
		for b := t.held; more && len(b) > 0; {
			r, n, err := dataset.DecodeRecord(b)
			if err != nil { // not reached: Add has encoded it
				yield(dataset.Record{}, fmt.Errorf("read records: %w", err))
				return
			}
			b = b[n:]
			more = yield(r, nil)
		}
	}
}

// file yields the records in the file, and reports whether the caller accepts more.
func (t *Tape) file(yield func(dataset.Record, error) bool) (more bool, err error) {
	size := t.bytes - int64(len(t.held))
	in := bufio.NewReaderSize(io.NewSectionReader(t.f, 0, size), readBytes+dataset.MaxEncodedBytes)
	for size > 0 {
		// The buffer has a whole record most of the time. Peeking the longest record each time would move the buffer's content to its front
		// each time.
		head, _ := in.Peek(in.Buffered())
		r, n, err := dataset.DecodeRecord(head)
		if err != nil {
			if head, err = in.Peek(dataset.MaxEncodedBytes); err != nil && !errors.Is(err, io.EOF) {
				return false, err
			}
			if r, n, err = dataset.DecodeRecord(head); err != nil {
				return false, err
			}
		}
		if !yield(r, nil) {
			return false, nil
		}
		if _, err := in.Discard(n); err != nil {
			return false, err
		}
		size -= int64(n)
	}
	return true, nil
}

// Close removes the file.
func (t *Tape) Close() error {
	if t.f == nil {
		return nil
	}
	return errors.Join(t.f.Close(), os.Remove(t.f.Name()))
}
