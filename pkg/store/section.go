package store

import (
	"fmt"
	"io"
	"os"
)

// section is a part of an object's file. Read and WriteTo move through it; ReadAt does not, and may be called
// concurrently.
type section struct {
	file *os.File
	// rest reads the file itself from its seek position, because that is what the network packages of the standard
	// library hand to sendfile: an *os.File within an *io.LimitedReader.
	rest io.LimitedReader
	at   *io.SectionReader
}

func newSection(f *os.File, offset, length int64) (*section, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return &section{file: f, rest: io.LimitedReader{R: f, N: length}, at: io.NewSectionReader(f, offset, length)}, nil
}

func (s *section) Read(p []byte) (int, error) {
	n, err := s.rest.Read(p)
	if err == io.EOF && s.rest.N > 0 {
		err = s.short()
	}
	return n, err
}

// ReadAt implements [io.ReaderAt]; its offset is relative to the section.
func (s *section) ReadAt(p []byte, offset int64) (int, error) { return s.at.ReadAt(p, offset) }

// Size returns the length of the section in bytes.
func (s *section) Size() int64 { return s.at.Size() }

// WriteTo implements [io.WriterTo]: by sendfile where w is a TCP connection or a response of net/http.
func (s *section) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &s.rest)
	if err == nil && s.rest.N > 0 {
		err = s.short()
	}
	return n, err
}

func (s *section) Close() error { return s.file.Close() }

func (s *section) short() error {
	return fmt.Errorf("%w: %s ended %d bytes early: %w", ErrDamaged, s.file.Name(), s.rest.N, io.ErrUnexpectedEOF)
}
