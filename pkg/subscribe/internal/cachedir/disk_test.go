package cachedir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"freshet.dev/pkg/dataset"
)

// full creates a file on a full disk: writes go to /dev/full.
func full(dir, pattern string) (*os.File, error) {
	named, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	named.Close()
	fd, err := syscall.Open("/dev/full", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), named.Name()), err
}

// endless does not know the free space.
func endless(string) (int64, bool) { return 0, false }

// Make stops at the first error of the disk. The writers of a refresh do not.
func TestMakeEndsAtTheFirstError(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	defer d.Close()
	mustPut(t, d, "prices", 1)
	before := files(t, root)

	d.SetDisk(Disk{Create: full, Free: endless})
	draft := d.Draft("prices")
	defer draft.Drop()
	piece, pieces := make([]byte, writeBuffer/2), 0
	err := draft.Make(1, func(w io.Writer) (dataset.Object, error) {
		for ; pieces < 100; pieces++ {
			if _, err := w.Write(piece); err != nil {
				return dataset.Object{}, fmt.Errorf("write a piece: %w", err)
			}
		}
		return dataset.Object{}, nil
	})
	if !errors.Is(err, syscall.ENOSPC) || pieces > 2 {
		t.Errorf("after %d pieces Make returned %v", pieces, err)
	}
	if got := files(t, root); !slices.Equal(got, before) {
		t.Errorf("after the error the folder has %q, want %q", got, before)
	}
	if err := draft.Shorten(record("prices", 1), func() bool { return false }); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Shorten returned %v", err)
	}
	if err := extend(d, 2); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Extend returned %v", err)
	}
	if err := put(d, "prices", 2); !errors.Is(err, syscall.ENOSPC) { // put fails if a Write does
		t.Errorf("Commit returned %v", err)
	}
	if got := files(t, root); !slices.Equal(got, before) {
		t.Errorf("after the errors the folder has %q, want %q", got, before)
	}
	check(t, d, "prices", 1)

	d.SetDisk(Disk{Create: os.CreateTemp, Free: endless})
	if err := extend(d, 2); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 2, 1, 2)
}

// Make needs free space for the snapshot and an eighth more, and its error has the numbers. If the free space is unknown, Make tries.
func TestMakeNeedsFreeSpace(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	const bytes, needed = 80 << 20, 90 << 20
	for _, tc := range []struct {
		free  int64
		known bool
		made  bool
	}{{needed, true, true}, {needed - 1, true, false}, {0, true, false}, {0, false, true}} {
		d.SetDisk(Disk{Create: os.CreateTemp, Free: func(string) (int64, bool) { return tc.free, tc.known }})
		draft, made := d.Draft("prices"), false
		err := draft.Make(bytes, func(io.Writer) (dataset.Object, error) {
			made = true
			return dataset.Object{}, nil
		})
		draft.Drop()
		if made != tc.made || errors.Is(err, ErrFull) == tc.made {
			t.Errorf("%+v: made %v, %v", tc, made, err)
		}
		if want := fmt.Sprintf("needs %d bytes free, and %d are", needed, tc.free); !tc.made && !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to contain: %s", err, want)
		}
	}
}

func TestFreeIsThatOfTheFolder(t *testing.T) {
	if bytes, ok := free(t.TempDir()); ok && bytes <= 0 {
		t.Errorf("%d bytes are free in a writable folder", bytes)
	}
	if _, ok := free("/not/there"); ok {
		t.Error("the free space of a missing folder is known")
	}
}
