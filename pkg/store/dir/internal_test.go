package dir

import (
	"math/bits"
	"os"
	"strings"
	"syscall"
	"testing"
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
