package store

import (
	"math/bits"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestRecordFileNames(t *testing.T) {
	for _, version := range []uint64{1, 9, 10, 1 << 32, maxVersion} {
		if got, ok := parseRecordFile(recordFile(version)); !ok || got != version {
			t.Errorf("version %d is in %s, which is of %d", version, recordFile(version), got)
		}
	}
	for _, file := range []string{
		"", ".json", "1.json", "00000000000000000000.json", "0000000000000000001.json", "000000000000000000001.json",
		"00000000000000000001.JSON", " 0000000000000000001.json", "+0000000000000000001.json", "-0000000000000000001.json",
		"0x000000000000000001.json", "000_0000000000000001.json", recordFile(maxVersion + 1), recordFile(1<<64 - 1),
	} {
		if version, ok := parseRecordFile(file); ok {
			t.Errorf("%q is taken for the record of version %d", file, version)
		}
	}
}

func TestLastOfIsRightAndCheap(t *testing.T) {
	for last := uint64(1); last < 200; last++ {
		for known := uint64(1); known <= last; known++ {
			looks := 0
			got, err := lastOf(known, func(v uint64) (bool, error) { looks++; return v <= last, nil })
			if err != nil || got != last {
				t.Fatalf("from %d the last of %d is found to be %d, %v", known, last, got, err)
			}
			if most := 1 + 2*bits.Len64(last-known); looks > most {
				t.Errorf("from %d to %d takes %d looks, want at most %d", known, last, looks, most)
			}
		}
	}
}

func TestPagesOfVersions(t *testing.T) {
	for _, c := range []struct {
		newest, before uint64
		limit          int
		from           uint64
		n              int
	}{
		{0, 0, 5, 0, 0}, {0, 9, 0, 0, 0}, {9, 0, 5, 9, 5}, {9, 0, 50, 9, 9}, {9, 0, 0, 9, 9}, {9, 1, 5, 0, 0}, {9, 4, 5, 3, 3}, {9, 4, 2, 3, 2}, {9, 99, 2, 9, 2},
	} {
		if from, n := page(c.newest, c.before, c.limit); from != c.from || n != c.n {
			t.Errorf("page(%d, %d, %d): %d from %d, want %d from %d", c.newest, c.before, c.limit, n, from, c.n, c.from)
		}
	}
}

func TestHints(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSPC: "free some space", syscall.EDQUOT: "free some space", syscall.EROFS: "writable",
		syscall.EACCES: "permission", syscall.ENOTDIR: "is a file", syscall.EIO: "",
	} {
		d := &dir{path: "/store"}
		got := d.failed("write", "tmp/x", &os.PathError{Op: "openat", Path: "x", Err: errno}).Error()
		if !strings.HasPrefix(got, "write /store/tmp/x: "+errno.Error()) || !strings.Contains(got, want) {
			t.Errorf("%v: %q", errno, got)
		}
	}
}
