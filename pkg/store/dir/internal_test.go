package dir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/bits"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
)

func TestLastOfIsRightAndCheap(t *testing.T) {
	for last := uint64(1); last < 200; last++ {
		for known := uint64(1); known <= last; known++ {
			lookups := 0
			got, err := lastOf(known, func(v uint64) (bool, error) { lookups++; return v <= last, nil })
			if err != nil || got != last {
				t.Fatalf("from %d the last of %d is %d, %v", known, last, got, err)
			}
			if most := 1 + 2*bits.Len64(last-known); lookups > most {
				t.Errorf("from %d to %d takes %d lookups, want at most %d", known, last, lookups, most)
			}
		}
	}
}

// An entry that has its name, but whose folder cannot be synced, may exist.
func TestEntryWithoutASync(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := dataset.Entry{
		StoreID: dataset.StoreID{1}, Dataset: "prices", Number: 1, Kind: dataset.EntrySettings, Time: time.Now().UTC(),
		Content: json.RawMessage(`{"settings":{},"changes":{}}`),
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	folder := layout.Entries("prices")
	err = s.putEntry(e, b, func(from, to string) error { return errors.Join(s.root.Link(from, to), s.root.Rename(folder, "away")) })
	if !errors.Is(err, store.ErrUnknown) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := s.root.Rename("away", folder); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Entry(t.Context(), "prices", 1); err != nil || got.Sum() != e.Sum() {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.putEntry(e, b, s.root.Link); !errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("the entry of another: %v", err)
	}
}

func TestHints(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "free some space", syscall.EDQUOT: "free some space", syscall.EROFS: "writable",
		syscall.EACCES: "permission", syscall.ENOTDIR: "is a file", syscall.EIO: "",
	} {
		s := &Store{path: "/store"}
		got := s.failed("write", "tmp/x", &os.PathError{Op: "openat", Path: "x", Err: errno}).Error()
		if !strings.HasPrefix(got, "write /store/tmp/x: "+errno.Error()) || !strings.Contains(got, want) {
			t.Errorf("%v: %q", errno, got)
		}
	}
}
