package publisher_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/store/storeurl"
	"freshet.dev/services/publisher"
)

// Invariant: a damaged version record hides no other version. The list and the record's own answer name its file and the remedy, and
// the remedy works.
func TestADamagedRecordDoesNotHideTheOtherVersions(t *testing.T) {
	folder := t.TempDir()
	s, err := storeurl.Open(t.Context(), "dir://"+folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := newPublisher(t, s, nil).Handler()
	for _, id := range []string{"a", "b", "c", "d"} {
		if rec := send(h, "POST", versions+"?key=id", `{"id":"`+id+`"}`); rec.Code != 201 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	paths, err := filepath.Glob(filepath.Join(folder, "versions", "*", "*2.json"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v %v", paths, err)
	}
	good, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) {
		t.Helper()
		if err := errors.Join(os.Chmod(paths[0], 0o600), os.WriteFile(paths[0], content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)/2] ^= 1
	put(flipped)

	wantsRemedy := func(text string) {
		t.Helper()
		for _, part := range []string{"version 2", paths[0], "put back a good copy of it"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q does not say %q", text, part)
			}
		}
	}
	rec := send(h, "GET", versions, "")
	list := decode[publisher.VersionList](t, rec)
	if rec.Code != 200 || len(list.Versions) != 3 || list.Versions[2].Version != 1 || len(list.Damaged) != 1 || list.Damaged[0].Version != 2 || list.NextBefore != 0 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	wantsRemedy(list.Damaged[0].Damaged)
	if rec = send(h, "GET", versions+"?limit=3", ""); decode[publisher.VersionList](t, rec).NextBefore != 2 {
		t.Errorf("a page that ends with the damaged version names another next page: %s", rec.Body)
	}
	if rec = send(h, "GET", versions+"?limit=1&before=3", ""); decode[publisher.VersionList](t, rec).NextBefore != 2 || rec.Code != 200 {
		t.Errorf("a page of the damaged version alone is %d %s", rec.Code, rec.Body)
	}
	wantsRemedy(wantProblem(t, send(h, "GET", versions+"/2", ""), 500, "damaged-store").Detail)

	put(good)
	rec = send(h, "GET", versions, "")
	if list := decode[publisher.VersionList](t, rec); len(list.Versions) != 4 || len(list.Damaged) != 0 {
		t.Errorf("after the record was put back: %d %s", rec.Code, rec.Body)
	}
}

// A flipped digit in store.json makes no other store: the publish is refused with the file and the remedies, which work.
func TestADamagedStoreIDIsNamed(t *testing.T) {
	s := openStore(t)
	h := newPublisher(t, s, nil).Handler()
	rec := send(h, "POST", versions+"?key=id", ndjson)
	id := decode[publisher.Publication](t, rec).Record.StoreID
	place := s.IDPlace()
	good, err := os.ReadFile(place)
	if err != nil || id.IsZero() {
		t.Fatalf("%v %s", err, rec.Body)
	}
	put := func(content []byte) {
		t.Helper()
		if err := errors.Join(os.Chmod(place, 0o600), os.WriteFile(place, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	flip := func() {
		t.Helper()
		other := "0"
		if strings.HasPrefix(id.String(), "0") {
			other = "1"
		}
		put([]byte(strings.Replace(string(good), id.String(), other+id.String()[1:], 1)))
		detail := wantProblem(t, send(h, "POST", versions+"?key=id", `{"id":"x"}`), 500, "damaged-store").Detail
		for _, part := range []string{place, "put back a good copy of it, or remove it"} {
			if !strings.Contains(detail, part) {
				t.Errorf("%q does not say %q", detail, part)
			}
		}
	}
	publishes := func(line string) {
		t.Helper()
		rec := send(h, "POST", versions+"?key=id", line)
		if got := decode[publisher.Publication](t, rec); rec.Code != 201 || got.Record.StoreID != id {
			t.Errorf("%d %s, want a version of store %s", rec.Code, rec.Body, id)
		}
	}
	flip()
	put(good)
	publishes(`{"id":"y"}`)
	flip()
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	publishes(`{"id":"z"}`)
}
