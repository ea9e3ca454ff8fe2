package dir_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/store"
)

// fileSink is a writer to which io.Copy passes the reader that it passes to a socket. It records whether a socket could use sendfile.
type fileSink struct {
	bytes.Buffer
	file bool
}

func (s *fileSink) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		_, s.file = limited.R.(*os.File)
	}
	return s.Buffer.ReadFrom(r)
}

func TestReaderPassesItsFileToSockets(t *testing.T) {
	st := open(t, t.TempDir())
	d := put(t, st, "0123456789")
	r, err := st.OpenObject(t.Context(), d, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	var sink fileSink
	n, err := io.Copy(&sink, r)
	if err != nil || n != 4 || sink.String() != "3456" {
		t.Errorf("copied %d bytes, %q, %v; want the rest of the section, 3456", n, sink.String(), err)
	}
	if !sink.file {
		t.Error("a socket would not see an *os.File")
	}
}

func TestReaderOverHTTP(t *testing.T) {
	st := open(t, t.TempDir())
	content := strings.Repeat("0123456789abcdef", 1<<16)
	d := put(t, st, content)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r, err := st.OpenObject(t.Context(), d, 5, 1<<20-7)
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		w.Header().Set("Content-Length", strconv.Itoa(1<<20-7))
		if _, err := io.Copy(w, r); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != content[5:5+1<<20-7] {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
}

func TestReaderReadsAt(t *testing.T) {
	st := open(t, t.TempDir())
	d := put(t, st, "0123456789")
	r, err := st.OpenObject(t.Context(), d, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := r.(io.ReaderAt)
	b := make([]byte, 10)
	if n, err := at.ReadAt(b, 1); n != 4 || err != io.EOF || string(b[:n]) != "3456" {
		t.Errorf("ReadAt 1: %q, %v", b[:n], err)
	}
	if n, err := at.ReadAt(b, 5); n != 0 || err != io.EOF {
		t.Errorf("ReadAt the end: %d bytes, %v", n, err)
	}
	if _, err := at.ReadAt(b, -1); err == nil {
		t.Error("ReadAt reads before the section")
	}
	if err := iotest.TestReader(r, []byte("23456")); err != nil { // also checks that ReadAt did not advance the reader
		t.Error(err)
	}
}

func TestReaderOfAFileThatShrinks(t *testing.T) {
	for what, read := range map[string]func(io.Reader) error{
		"Read":    func(r io.Reader) error { _, err := io.ReadAll(struct{ io.Reader }{r}); return err },
		"WriteTo": func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err },
	} {
		t.Run(what, func(t *testing.T) {
			folder := t.TempDir()
			st := open(t, folder)
			d := put(t, st, "0123456789")
			r, err := st.OpenObject(t.Context(), d, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			path := filepath.Join(folder, "objects", d.String()[:2], d.String())
			if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 6)); err != nil {
				t.Fatal(err)
			}
			err = read(r)
			wantMessage(t, err, store.ErrDamaged, path, "4 bytes")
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v is not io.ErrUnexpectedEOF", err)
			}
		})
	}
}
