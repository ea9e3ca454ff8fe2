package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"freshet.dev/services/relay/internal/wire"
	"golang.org/x/sys/unix"
)

// pages is a source whose parts lie in pages of their own. Once a part is dropped, other pages with other bytes are in
// its place, as where a cache has put another segment.
type pages struct {
	rest  []byte
	place []byte // a mapping of whole pages
}

// sendPages answers with the given body in pages.
func sendPages(t *testing.T, w http.ResponseWriter, body []byte, parts int) {
	place, err := unix.Mmap(-1, 0, parts, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Error(err)
		return
	}
	w.Header().Set("Content-Type", "x/y")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, err = io.Copy(w, &pages{rest: body, place: place})
	if err = errors.Join(err, unix.Munmap(place)); err != nil {
		t.Error(err)
	}
}

func (s *pages) Hold() (wire.Part, error) {
	if len(s.rest) == 0 {
		return wire.Part{}, io.EOF
	}
	return wire.Part{Bytes: s.place[:copy(s.place, s.rest)], Given: true}, nil
}

func (s *pages) Drop(n int) {
	s.rest = s.rest[n:]
	if err := unix.Madvise(s.place, unix.MADV_DONTNEED); err != nil {
		panic(err)
	}
	for i := range s.place {
		s.place[i] = 0xDB
	}
}

func (s *pages) Read(p []byte) (int, error) {
	part, err := s.Hold()
	if err != nil {
		return 0, err
	}
	n := copy(p, part.Bytes)
	s.Drop(n)
	return n, nil
}

// Pages that were given arrive as they were then, whatever is in their place by the time they are sent, at clients that
// are fast and at those that keep the kernel from taking all of a part.
func TestPagesThatAreGivenArriveAsTheyWere(t *testing.T) {
	want := content(8<<20 + 4711)
	const clients = 8
	before := openFiles(t)
	t.Run("serve", func(t *testing.T) {
		addr := serve(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
			sendPages(t, w, want, 300<<10)
		})
		var wg sync.WaitGroup
		for i := range clients {
			conn := request(t, addr)
			wg.Go(func() {
				defer conn.Close()
				if err := compare(conn, want, 1000<<i); err != nil {
					t.Errorf("the client that reads %d bytes at a time: %v", 1000<<i, err)
				}
			})
		}
		wg.Wait()
	})
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, before there were %d", after, before)
	}
}

// compare reads an answer with the given body, in pieces of so many bytes.
func compare(conn net.Conn, want []byte, piece int) error {
	var head []byte
	buf := make([]byte, piece)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		head = append(head, buf[:n]...)
		if _, got, ok := bytes.Cut(head, []byte("\r\n\r\n")); ok {
			head = got
			break
		}
	}
	for at := 0; ; {
		if at+len(head) > len(want) || !bytes.Equal(head, want[at:at+len(head)]) {
			return fmt.Errorf("other bytes at %d", at)
		}
		if at += len(head); at == len(want) {
			return nil
		}
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		head = buf[:n]
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Where there are no pipes to be had, pages are copied.
func TestPagesAreCopiedWithoutPipes(t *testing.T) {
	want := content(1 << 20)
	sockets := wire.New(time.Minute)
	sockets.Close()
	addr := serveWith(t, sockets, func(w http.ResponseWriter, _ *http.Request) {
		sendPages(t, w, want, 256<<10)
	})
	if err := compare(request(t, addr), want, 1<<20); err != nil {
		t.Error(err)
	}
}
