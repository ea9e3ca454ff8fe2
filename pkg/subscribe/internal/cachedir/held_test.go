package cachedir

import (
	"errors"
	"io"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
)

// extend adds the delta to the version, on the one before it.
func extend(d *Dir, version uint64) error {
	draft := d.Draft("prices")
	defer draft.Drop()
	o, content := object(version)
	draft.Object(o).Write(content)
	return draft.Extend(record("prices", version-1), record("prices", version))
}

// shorten replaces the objects up to the version with a new snapshot of it.
func shorten(d *Dir, version uint64) error {
	draft := d.Draft("prices")
	defer draft.Drop()
	if err := draft.Make(1, func(w io.Writer) (dataset.Object, error) {
		o, content := object(100 + version)
		o.Version = version
		_, err := w.Write(content)
		return o, err
	}); err != nil {
		return err
	}
	return draft.Shorten(record("prices", version), func() bool { return false })
}

// holds fails unless the folder has exactly this version with this chain.
func holds(t *testing.T, d *Dir, version uint64, chain ...uint64) {
	t.Helper()
	s, err := d.Stored("prices")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []uint64
	for _, o := range s.Chain {
		got = append(got, o.Version)
	}
	if s.Record.Version != version || !slices.Equal(got, chain) {
		t.Errorf("version %d of objects %d is cached, want %d of %d", s.Record.Version, got, version, chain)
	}
	if n := len(files(t, d.dir("prices"))); n != 1+len(chain) {
		t.Errorf("the folder has %d files, want %d", n, 1+len(chain))
	}
}

func TestExtendAndShorten(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	if err := extend(d, 2); !errors.Is(err, ErrOther) {
		t.Errorf("an empty folder was extended: %v", err)
	}
	mustPut(t, d, "prices", 1)
	for v := uint64(2); v <= 5; v++ {
		if err := extend(d, v); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, d, 5, 1, 2, 3, 4, 5)
	if err := extend(d, 7); !errors.Is(err, ErrOther) {
		t.Errorf("a gap was left: %v", err)
	}
	if err := shorten(d, 3); err != nil { // an earlier version: later deltas stay
		t.Fatal(err)
	}
	holds(t, d, 5, 3, 4, 5)
	if err := shorten(d, 2); !errors.Is(err, ErrOther) {
		t.Errorf("a later snapshot was replaced by an earlier: %v", err)
	}
	holds(t, d, 5, 3, 4, 5)
	if err := shorten(d, 9); err != nil { // the versions in between are missing
		t.Fatal(err)
	}
	holds(t, d, 9, 9)
}

// A sweep keeps the files that another draft is writing.
func TestConcurrentDraftsOfOneDataset(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	mustPut(t, d, "prices", 1)
	draft := d.Draft("prices")
	defer draft.Drop()
	err := draft.Make(1, func(w io.Writer) (dataset.Object, error) {
		o, content := object(101)
		o.Version = 1
		_, err := w.Write(content)
		return o, errors.Join(err, extend(d, 2))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := draft.Shorten(record("prices", 1), func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 2, 1, 2)
}
