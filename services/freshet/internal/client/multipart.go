package client

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/textproto"
	"sync"

	"freshet.dev/pkg/publish"
)

// File is one of the files of a publish.
type File struct {
	// Name names the file in the publisher's messages.
	Name   string
	Format publish.Format
	Open   func() (io.ReadCloser, error)
}

// Multipart is a request body that has several files. It opens one file at a time. One goroutine reads it; any may close it.
type Multipart struct {
	files []File // to send after the current one
	out   bytes.Buffer
	parts *multipart.Writer
	name  string // of current
	ended bool

	mu      sync.Mutex // guards what follows
	current io.ReadCloser
	closed  bool
}

// NewMultipart returns a body that has the files. The caller closes it.
func NewMultipart(files []File) *Multipart {
	m := &Multipart{files: files}
	m.parts = multipart.NewWriter(&m.out)
	return m
}

// ContentType returns the media type of the body.
func (m *Multipart) ContentType() string { return "multipart/mixed; boundary=" + m.parts.Boundary() }

// Read implements [io.Reader]. Its errors name the file.
func (m *Multipart) Read(b []byte) (int, error) {
	for {
		current := m.open()
		switch {
		case m.out.Len() > 0:
			return m.out.Read(b)
		case current != nil:
			n, err := current.Read(b)
			if err == io.EOF {
				err = m.set(nil)
			}
			if err != nil {
				return n, fmt.Errorf("%s: %w", m.name, err)
			}
			if n > 0 || len(b) == 0 {
				return n, nil
			}
		case len(m.files) > 0:
			if err := m.begin(); err != nil {
				return 0, err
			}
		case !m.ended:
			m.ended = true
			if err := m.parts.Close(); err != nil {
				return 0, err
			}
		default:
			return 0, io.EOF
		}
	}
}

// begin opens the next file, and writes the header of its part.
func (m *Multipart) begin() error {
	file := m.files[0]
	m.files = m.files[1:]
	current, err := file.Open()
	if err != nil {
		return err
	}
	m.name = file.Name
	if err := m.set(current); err != nil {
		return err
	}
	_, err = m.parts.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition("file", file.Name)},
		"Content-Type":        {contentTypes[file.Format]},
	})
	return err
}

// open returns the file that is read.
func (m *Multipart) open() io.Reader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		return nil
	}
	return m.current
}

// set replaces the file that is read, and closes the one before.
func (m *Multipart) set(file io.ReadCloser) error {
	m.mu.Lock()
	before, closed := m.current, m.closed
	m.current = file
	if closed {
		before, m.current = file, nil
	}
	m.mu.Unlock()
	if before != nil {
		if err := before.Close(); err != nil {
			return err
		}
	}
	if closed {
		return fs.ErrClosed
	}
	return nil
}

// Close closes the open file. A Read of it may be in progress.
func (m *Multipart) Close() error {
	m.mu.Lock()
	current := m.current
	m.current, m.closed = nil, true
	m.mu.Unlock()
	if current == nil {
		return nil
	}
	return current.Close()
}
