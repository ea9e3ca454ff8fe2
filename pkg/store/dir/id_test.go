package dir_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// Invariant: a flipped bit in store.json never makes it the id of another store, and the message names the file. The remedies work:
// a good copy, and without the file the id that the version records name.
func TestDamagedStoreID(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	id, err := st.EnsureID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "store.json")
	if st.IDPlace() != path {
		t.Errorf("the place of the store id is %q, want %q", st.IDPlace(), path)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damaged := 0
	for i := range 8 * len(good) {
		flipped := bytes.Clone(good)
		flipped[i/8] ^= 1 << (i % 8)
		put(flipped)
		switch got, err := st.ID(t.Context()); {
		case err != nil:
			damaged++
			wantMessage(t, err, store.ErrDamaged, path, "put back a good copy of it, or remove it")
			_, err = st.EnsureID(t.Context())
			wantMessage(t, err, store.ErrDamaged, path)
		case got != id:
			t.Fatalf("bit %d of byte %d: %s is the id %s, want %s", i%8, i/8, flipped, got, id)
		}
	}
	if damaged < 8*len(id.String()) {
		t.Errorf("%d flipped bits were noticed, want at least those of the id", damaged)
	}
	put(good)
	if got, err := st.ID(t.Context()); err != nil || got != id {
		t.Errorf("with the good copy: %s, %v", got, err)
	}

	of := func(name string, version uint64, id dataset.StoreID) dataset.VersionRecord {
		rec := record(version)
		rec.Dataset, rec.StoreID = name, id
		return rec
	}
	for _, rec := range []dataset.VersionRecord{record(1), of("prices", 2, id), of("cities", 1, id)} {
		if err := st.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	if got, err := open(t, folder).EnsureID(t.Context()); err != nil || got != id {
		t.Errorf("without the file: %s, %v; want %s, which the records name", got, err, id)
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, good) {
		t.Errorf("the file is %s, %v; want %s", again, err, good)
	}

	remove()
	if err := st.PutVersion(t.Context(), of("rules", 1, dataset.NewStoreID())); err != nil {
		t.Fatal(err)
	}
	if got, err := st.EnsureID(t.Context()); err != nil || got != id {
		t.Errorf("with a dataset of another store: %s, %v; want %s, which most datasets name", got, err, id)
	}
}

// A store of a release before store ids gets one although a record is damaged. If all records are damaged, EnsureID fails, because the
// records may have named an id.
func TestStoreIDWithDamagedRecords(t *testing.T) {
	folder := t.TempDir()
	st := open(t, folder)
	for _, name := range []string{"cities", "prices"} {
		rec := record(1)
		rec.Dataset = name
		if err := st.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	damage := func(name string) {
		t.Helper()
		place := st.RecordPlace(name, 1)
		if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damage("cities")
	if id, err := st.EnsureID(t.Context()); err != nil || id.IsZero() {
		t.Errorf("%s, %v", id, err)
	}
	damage("prices")
	if err := os.Remove(st.IDPlace()); err != nil {
		t.Fatal(err)
	}
	_, err := st.EnsureID(t.Context())
	wantMessage(t, err, store.ErrDamaged, st.IDPlace(), "put back a good copy of it")
}

// store.json of an earlier release has no sum.
func TestStoreIDWithoutASum(t *testing.T) {
	folder := t.TempDir()
	id := dataset.NewStoreID()
	if err := os.WriteFile(filepath.Join(folder, "store.json"), []byte(`{"id":"`+id.String()+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, folder).ID(t.Context()); err != nil || got != id {
		t.Errorf("%s, %v; want %s", got, err, id)
	}
}
