package cachedir

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
)

func retaining(t *testing.T) *Dir {
	t.Helper()
	d := New(t.TempDir())
	d.Retain()
	t.Cleanup(func() { d.Close() })
	return d
}

// confirm writes that the versions are confirmed, and settles the last of them.
func confirm(t *testing.T, d *Dir, versions ...uint64) {
	t.Helper()
	b := d.Boot("prices")
	for _, v := range versions {
		b.Confirm(record("prices", v).Ref())
	}
	err := d.SetBoot("prices", b)
	if err == nil {
		err = d.Settle("prices", record("prices", versions[len(versions)-1]))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fallsBackTo fails unless the folder keeps exactly these versions before the cached one, and no unused object.
func fallsBackTo(t *testing.T, d *Dir, versions ...uint64) {
	t.Helper()
	var got []uint64
	for _, h := range d.Previous("prices") {
		got = append(got, h.Record.Version)
	}
	if !slices.Equal(got, versions) {
		t.Errorf("the folder falls back to versions %d, want %d", got, versions)
	}
	held, err := d.Held("prices")
	if err != nil {
		t.Fatal(err)
	}
	kept := keptFiles(held, d.Previous("prices"))
	for _, path := range files(t, d.dir("prices")) {
		if !slices.Contains(kept, path) {
			t.Errorf("%s is in the folder, but no version needs it", path)
		}
	}
}

func TestPreviousVersionIsKeptUntilTheNextIsConfirmed(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	fallsBackTo(t, d)
	confirm(t, d, 1)
	mustPut(t, d, "prices", 2)
	fallsBackTo(t, d, 1)
	mustPut(t, d, "prices", 3) // 2 was not confirmed
	fallsBackTo(t, d, 2, 1)
	mustPut(t, d, "prices", 4)
	fallsBackTo(t, d, 3, 1)
	confirm(t, d, 3)
	fallsBackTo(t, d, 3)
	mustPut(t, d, "prices", 5)
	fallsBackTo(t, d, 4, 3)
	confirm(t, d, 5)
	fallsBackTo(t, d)
	check(t, d, "prices", 5)
	mustPut(t, d, "prices", 5) // the same again
	fallsBackTo(t, d)
	mustPut(t, d, "prices", 6)
	confirm(t, d, 7) // it is served before it is committed
	mustPut(t, d, "prices", 7)
	fallsBackTo(t, d)
}

func TestFirstVersionIsKeptWhileNoneIsConfirmed(t *testing.T) {
	d := retaining(t)
	for v := range uint64(4) {
		mustPut(t, d, "prices", v+1)
	}
	fallsBackTo(t, d, 3, 1)
}

// Versions that differ by deltas share their objects, also after a new snapshot.
func TestPreviousVersionsShareObjects(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	for v := uint64(2); v <= 5; v++ {
		if err := extend(d, v); err != nil {
			t.Fatal(err)
		}
	}
	fallsBackTo(t, d, 4, 1)
	confirm(t, d, 3) // in the middle of the chain
	fallsBackTo(t, d, 4, 3)
	if n := len(files(t, d.dir("prices"))); n != 5+len([]string{recordName, previousName, bootName}) {
		t.Errorf("the folder has %q", files(t, d.dir("prices")))
	}
	if err := shorten(d, 5); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d, 4, 3)
	confirm(t, d, 5)
	fallsBackTo(t, d)
	if n := len(files(t, d.dir("prices"))); n != 1+len([]string{recordName, bootName}) {
		t.Errorf("the folder has %q", files(t, d.dir("prices")))
	}
}

// The same content under another id is not a version to fall back to.
func TestAnotherIDOfTheSameContent(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "prices", 2)
	rec := record("prices", 2)
	rec.StoreID = dataset.StoreID{1}
	draft := d.Draft("prices")
	defer draft.Drop()
	if err := draft.Extend(record("prices", 2), rec); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d, 1)
}

func TestRestoreFallsBack(t *testing.T) {
	bars := func(versions ...uint64) func(dataset.Ref) bool {
		return func(ref dataset.Ref) bool { return slices.Contains(versions, ref.Version) }
	}
	d := retaining(t)
	if err := d.Restore("prices", bars(1)); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	for v := range uint64(3) {
		mustPut(t, d, "prices", v+1)
	}
	confirm(t, d, 1)
	if err := d.Restore("prices", bars(2)); err != nil {
		t.Fatal(err)
	}
	check(t, d, "prices", 3)
	if err := d.Restore("prices", bars(3)); err != nil {
		t.Fatal(err)
	}
	check(t, d, "prices", 2)
	fallsBackTo(t, d, 1)
	mustPut(t, d, "prices", 4)
	if err := d.Restore("prices", bars(2, 4)); err != nil {
		t.Fatal(err)
	}
	check(t, d, "prices", 1)
	fallsBackTo(t, d)
	if err := d.Restore("prices", bars(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stored("prices"); !errors.Is(err, ErrNone) {
		t.Errorf("without a version to fall back to: %v", err)
	}
	if got := files(t, d.dir("prices")); !slices.Equal(got, []string{bootName}) {
		t.Errorf("the folder has %q", got)
	}
}

// Restore of a version that a delta led to keeps the first objects of the chain.
func TestRestoreOfADelta(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	for v := uint64(2); v <= 4; v++ {
		if err := extend(d, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Restore("prices", func(ref dataset.Ref) bool { return ref.Version == 4 }); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d, 1)
	if err := extend(d, 4); err != nil { // and continues from there
		t.Fatal(err)
	}
	confirm(t, d, 4)
	holdsBoot(t, d, 4, 1, 2, 3, 4)
}

// holdsBoot is holds for a folder with boot.json.
func holdsBoot(t *testing.T, d *Dir, version uint64, chain ...uint64) {
	t.Helper()
	if err := os.Remove(d.BootPath("prices")); err != nil {
		t.Fatal(err)
	}
	holds(t, d, version, chain...)
}

// The folder does not fall back to a version with missing objects. A truncated previous.json counts as empty.
func TestDamagedPreviousVersion(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "prices", 2)
	o, _ := object(1)
	if err := os.Truncate(d.object("prices", o.Digest), o.Bytes-1); err != nil {
		t.Fatal(err)
	}
	if got := d.Previous("prices"); len(got) != 0 {
		t.Errorf("falls back to %+v", got)
	}
	mustPut(t, d, "prices", 3)
	fallsBackTo(t, d, 2)
	if err := os.Truncate(filepath.Join(d.dir("prices"), previousName), 20); err != nil {
		t.Fatal(err)
	}
	if got := d.Previous("prices"); len(got) != 0 {
		t.Errorf("falls back to %+v", got)
	}
	mustPut(t, d, "prices", 4)
	fallsBackTo(t, d, 3)
}

func TestCleanAndDiscardKeepWhatTheGuardNeeds(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	d.Retain()
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "prices", 2)
	b := Boot{}
	b.Died(Trial{Ref: record("prices", 2).Ref()})
	if err := d.SetBoot("prices", b); err != nil {
		t.Fatal(err)
	}
	d.Close()

	d = New(root)
	d.Retain()
	if err := d.Clean([]string{"prices"}); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d, 1)
	if err := d.Discard("prices"); err != nil {
		t.Fatal(err)
	}
	if err := d.Clean([]string{"prices"}); err != nil { // without a version
		t.Fatal(err)
	}
	if got := files(t, d.dir("prices")); !slices.Equal(got, []string{bootName}) || len(d.Boot("prices").Deaths) != 1 {
		t.Errorf("the folder has %q, boot.json is %+v", got, d.Boot("prices"))
	}
	mustPut(t, d, "prices", 3)
	mustPut(t, d, "prices", 4)
	b = d.Boot("prices")
	b.Confirm(record("prices", 4).Ref()) // the process dies before it settles
	if err := d.SetBoot("prices", b); err != nil {
		t.Fatal(err)
	}
	if err := d.Clean([]string{"prices"}); err != nil {
		t.Fatal(err)
	}
	fallsBackTo(t, d)
	if err := d.Clean(nil); err != nil {
		t.Fatal(err)
	}
	if got := files(t, root); !slices.Equal(got, []string{lockName}) {
		t.Errorf("a dataset that is no longer subscribed has left %q", got)
	}
	d.Close()
}

// When a confirmed version replaces a damaged one, there is no version to fall back to.
func TestConfirmedVersionReplacesADamagedOne(t *testing.T) {
	d := retaining(t)
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "prices", 2)
	fallsBackTo(t, d, 1)
	d.Damaged("prices", ErrDamaged)
	confirm(t, d, 3)
	mustPut(t, d, "prices", 3)
	fallsBackTo(t, d)
	if err := d.Damage("prices"); err != nil {
		t.Errorf("after the commit the damage is %v", err)
	}
}
