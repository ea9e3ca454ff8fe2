package dir

import (
	"fmt"
	"io"
	"os"

	"freshet.dev/pkg/store"
)

// section reads a part of an object's file. Read and WriteTo advance through it. ReadAt does not, and is safe for concurrent use.
type section struct {
	file *os.File
	// rest reads the file from its seek position. The network packages of the standard library pass an *os.File in an
	// *io.LimitedReader to sendfile, and no other type.
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

// WriteTo implements [io.WriterTo]. It uses sendfile if w is a TCP connection or a response of net/http.
func (s *section) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &s.rest)
	if err == nil && s.rest.N > 0 {
		err = s.short()
	}
	return n, err
}

func (s *section) Close() error { return s.file.Close() }

// short returns the error for a file that is shorter than at its opening.
func (s *section) short() error {
	return fmt.Errorf("%w: %s ended %d bytes early: %w", store.ErrDamaged, s.file.Name(), s.rest.N, io.ErrUnexpectedEOF)
}
