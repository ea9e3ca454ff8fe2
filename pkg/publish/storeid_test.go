package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
)

// putStoreID writes store.json as a release without sums does.
func (r *rig) putStoreID(t *testing.T, id dataset.StoreID) {
	t.Helper()
	err := os.Remove(r.store.IDPlace())
	if err == nil {
		err = os.WriteFile(r.store.IDPlace(), []byte(`{"id":"`+id.String()+`"}`), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Invariant: a store.json that names another store than the version records makes no other store: nothing is published. The
// message names both files, and its remedy works.
func TestStoreIDOfAnotherStore(t *testing.T) {
	r := newRig(t, nil)
	first := r.text(t, "prices", `{"id":"a"}`).Record
	wrong := first.StoreID
	wrong[0] ^= 1
	r.putStoreID(t, wrong)
	check := func(err error) {
		t.Helper()
		if !errors.Is(err, publish.ErrStoreID) {
			t.Fatalf("got %v, want ErrStoreID", err)
		}
		for _, part := range []string{
			r.store.IDPlace() + " says " + wrong.String(), "version prices/1 at " + r.store.RecordPlace("prices", 1) + " says " + first.StoreID.String(),
			"put back a good copy of it, or remove it",
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	_, err := r.Publish(t.Context(), "prices", publish.Input{Body: strings.NewReader(`{"id":"b"}`), Key: "id"})
	check(err)
	_, err = r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(`{"id":"b"}`), Key: "id"}})
	check(err)
	same := r.text(t, "prices", `{"id":"a"}`)
	if same.Created || len(same.Warnings) != 1 || !strings.Contains(same.Warnings[0], r.store.IDPlace()) {
		t.Errorf("equal content: %+v; want a warning that names the file", same)
	}

	if err := os.Remove(r.store.IDPlace()); err != nil {
		t.Fatal(err)
	}
	if got := r.text(t, "prices", `{"id":"b"}`).Record; got.StoreID != first.StoreID || got.Version != 2 {
		t.Errorf("version %d is of store %s, want 2 of %s", got.Version, got.StoreID, first.StoreID)
	}
}

// Invariant: a dataset that was copied from another store is refused, and no other dataset is. The remedies of the message work: the id that
// most datasets name is the store's, and the dataset is published again once its records are moved away.
func TestRecordOfAnotherStore(t *testing.T) {
	r := newRig(t, nil)
	first := r.text(t, "prices", `{"id":"a"}`).Record
	r.text(t, "rules", `{"id":"a"}`)
	other := first
	other.Dataset, other.StoreID = "cities", dataset.NewStoreID()
	if err := r.store.PutVersion(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.store.IDPlace()); err != nil { // the first remedy is of no use here, and does no harm
		t.Fatal(err)
	}
	if got := r.text(t, "prices", `{"id":"b"}`).Record; got.Version != 2 || got.StoreID != first.StoreID {
		t.Errorf("version %d is of store %s, want 2 of %s", got.Version, got.StoreID, first.StoreID)
	}
	publishCities := func() (publish.Result, error) {
		return r.Publish(t.Context(), "cities", publish.Input{Body: strings.NewReader(`{"id":"b"}`), Key: "id"})
	}
	folder := filepath.Dir(r.store.RecordPlace("cities", 1))
	if _, err := publishCities(); !errors.Is(err, publish.ErrStoreID) || !strings.Contains(err.Error(), "move "+folder+" away and publish all of its records again") {
		t.Fatalf("got %v, want ErrStoreID", err)
	}
	if err := os.Rename(folder, filepath.Join(t.TempDir(), "cities")); err != nil {
		t.Fatal(err)
	}
	if got, err := publishCities(); err != nil || got.Record.Version != 1 || got.Record.StoreID != first.StoreID {
		t.Errorf("%+v, %v", got.Record, err)
	}
}
