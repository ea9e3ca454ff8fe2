// Package tape keeps records in a temporary file, in the order in which they come, to be read as often as needed.
//
// It holds what a publisher has to know the length of before it can write it (the entries of a delta), or needs again
// when another publisher was faster (the sorted records of a patch). Records stand in the file as package dataset
// encodes them, one after the other.
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

// bufferBytes is the buffer of each of writing and reading: larger ones are no faster.
const bufferBytes = 64 << 10

// Tape is a file of records. Its methods are for one goroutine.
type Tape struct {
	f       *os.File
	w       *bufio.Writer
	buf     []byte
	entries uint64
	bytes   int64
}

// New makes the file at path, which must not exist.
func New(path string) (*Tape, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	return &Tape{f: f, w: bufio.NewWriterSize(f, bufferBytes)}, nil
}

// Add appends a record, which must pass [dataset.Record.Check]; it may be a removal.
func (t *Tape) Add(r dataset.Record) error {
	t.buf = dataset.AppendRecord(t.buf[:0], r)
	if _, err := t.w.Write(t.buf); err != nil {
		return fmt.Errorf("write records to a temporary file: %w; a folder with more room can be named as TempDir", err)
	}
	t.entries++
	t.bytes += int64(len(t.buf))
	return nil
}

// Entries returns the number of records.
func (t *Tape) Entries() uint64 { return t.entries }

// RawBytes returns the sum of the records' encoded lengths.
func (t *Tape) RawBytes() int64 { return t.bytes }

// Records yields the records in the order in which they were added. A record is valid until the next. No record may be
// added while it runs; afterwards it can be used again.
func (t *Tape) Records() iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		fail := func(err error) {
			yield(dataset.Record{}, fmt.Errorf("read records from a temporary file: %w", err))
		}
		if err := t.w.Flush(); err != nil {
			fail(err)
			return
		}
		in := bufio.NewReaderSize(io.NewSectionReader(t.f, 0, t.bytes), bufferBytes+dataset.MaxEncodedBytes)
		for range t.entries {
			// What is buffered is a whole record most of the time; asking for the longest each time would move the
			// buffer's content to its front each time.
			head, _ := in.Peek(in.Buffered())
			r, n, err := dataset.DecodeRecord(head)
			if err != nil {
				if head, err = in.Peek(dataset.MaxEncodedBytes); err != nil && !errors.Is(err, io.EOF) {
					fail(err)
					return
				}
				if r, n, err = dataset.DecodeRecord(head); err != nil {
					fail(err)
					return
				}
			}
			if !yield(r, nil) {
				return
			}
			if _, err := in.Discard(n); err != nil {
				fail(err)
				return
			}
		}
	}
}

// Close removes the file.
func (t *Tape) Close() error { return errors.Join(t.f.Close(), os.Remove(t.f.Name())) }
