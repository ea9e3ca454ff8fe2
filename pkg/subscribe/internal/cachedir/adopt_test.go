package cachedir

import (
	"errors"
	"testing"

	"freshet.dev/pkg/dataset"
)

// adopt makes rec the cached version, with the content of the version of.
func adopt(d *Dir, of dataset.Ref, rec dataset.VersionRecord) error {
	draft := d.Draft(rec.Dataset)
	defer draft.Drop()
	return draft.Adopt(of, rec)
}

// delta adds the delta to rec on the version base, whose id it states.
func delta(d *Dir, base, rec dataset.VersionRecord) error {
	draft := d.Draft("prices")
	defer draft.Drop()
	o, content := object(rec.Version)
	o.From = base.VersionID()
	draft.Object(o).Write(content)
	return draft.Extend(base, rec)
}

// rollback returns the record of a version that restores another.
func rollback(version, to uint64) dataset.VersionRecord {
	rec := record("prices", version)
	rec.Restores = record("prices", to).Ref()
	return rec
}

// A rollback to a version in the middle of the chain keeps the objects up to that, and deltas continue from there, also over a gap.
func TestAdopt(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	v := func(version uint64) dataset.VersionRecord { return record("prices", version) }
	if err := adopt(d, v(1).Ref(), v(2)); !errors.Is(err, ErrOther) {
		t.Errorf("an empty folder: %v", err)
	}
	mustPut(t, d, "prices", 1)
	for n := uint64(2); n <= 5; n++ {
		if err := delta(d, v(n-1), v(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := adopt(d, dataset.Ref{Version: 2, ID: dataset.VersionID{9}}, rollback(6, 2)); !errors.Is(err, ErrOther) {
		t.Errorf("another version 2: %v", err)
	}
	if err := adopt(d, v(6).Ref(), rollback(7, 6)); !errors.Is(err, ErrOther) {
		t.Errorf("a version that is not cached: %v", err)
	}
	holds(t, d, 5, 1, 2, 3, 4, 5)

	back := rollback(6, 2)
	if err := adopt(d, v(2).Ref(), back); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 6, 1, 2)
	if err := delta(d, back, v(7)); err != nil {
		t.Fatal(err)
	}
	if err := delta(d, v(7), v(8)); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 8, 1, 2, 7, 8)

	// A snapshot of a version in the gap is of another branch, and one of a version after it shortens the chain.
	for _, version := range []uint64{4, 5} {
		if err := shorten(d, version); !errors.Is(err, ErrOther) {
			t.Errorf("a snapshot of version %d, before the rollback: %v", version, err)
		}
	}
	holds(t, d, 8, 1, 2, 7, 8)
	again := rollback(9, 6)
	if err := adopt(d, back.Ref(), again); err != nil { // the rollback is restored
		t.Fatal(err)
	}
	holds(t, d, 9, 1, 2)
	if err := adopt(d, again.Ref(), rollback(10, 9)); err != nil { // the cached version itself
		t.Fatal(err)
	}
	holds(t, d, 10, 1, 2)
	if err := delta(d, rollback(10, 9), v(11)); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 11, 1, 2, 11)
	if err := shorten(d, 11); err != nil {
		t.Fatal(err)
	}
	holds(t, d, 11, 11)
}

// The version from before a rollback is kept until the rollback is confirmed.
func TestAdoptedVersionIsRetained(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	for n := uint64(2); n <= 4; n++ {
		if err := delta(d, record("prices", n-1), record("prices", n)); err != nil {
			t.Fatal(err)
		}
	}
	confirm(t, d, 4)
	back := rollback(5, 2)
	if err := adopt(d, record("prices", 2).Ref(), back); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d, 4)
	b := d.Boot("prices")
	b.Confirm(back.Ref())
	if err := d.SetBoot("prices", b); err != nil {
		t.Fatal(err)
	}
	if err := d.Settle("prices", back); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d)
	holdsBoot(t, d, 5, 1, 2)
}
