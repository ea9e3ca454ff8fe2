package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// objects returns the objects of the store by digest.
func objects(t *testing.T, st store.Store) map[dataset.Digest]store.StoredObject {
	t.Helper()
	found := map[dataset.Digest]store.StoredObject{}
	for o, err := range st.Objects(t.Context()) {
		if err != nil {
			t.Fatalf("list the objects: %v", err)
		}
		if _, twice := found[o.Digest]; twice {
			t.Errorf("object %s is listed twice", o.Digest)
		}
		found[o.Digest] = o
	}
	return found
}

func (s suite) objectsAreListedAndRemoved(t *testing.T) {
	st := s.fresh(t)
	if found := objects(t, st); len(found) != 0 {
		t.Errorf("a new store has the objects %v", found)
	}
	before := clock(t, st)
	var digests []dataset.Digest
	for i := range 12 {
		b, d := content(int64(100+i), byte(40+i))
		put(t, st, b, d)
		digests = append(digests, d)
	}
	after := clock(t, st)
	commit(t, st, record("prices", 1, "a record is no object"))
	found := objects(t, st)
	if len(found) != len(digests) {
		t.Errorf("%d objects are listed, want %d", len(found), len(digests))
	}
	for i, d := range digests {
		o := found[d]
		if o.Bytes != int64(100+i) || o.Modified.Before(before) || o.Modified.After(after) {
			t.Errorf("object %d is listed as %+v; it was written between %v and %v", i, o, before, after)
		}
	}
	for range st.Objects(t.Context()) {
		break // a caller may stop
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range st.Objects(ended) {
		wantErr(t, "list with a context that has ended", err, context.Canceled)
	}

	first := found[digests[0]]
	for what, other := range map[string]store.StoredObject{
		"another size": {Digest: first.Digest, Bytes: first.Bytes + 1, Modified: first.Modified},
		"another time": {Digest: first.Digest, Bytes: first.Bytes, Modified: first.Modified.Add(-time.Minute)},
	} {
		if removed, err := st.RemoveObject(t.Context(), other); err != nil || removed {
			t.Errorf("remove the object with %s: %t, %v", what, removed, err)
		}
	}
	if _, err := st.StatObject(t.Context(), first.Digest); err != nil {
		t.Errorf("an object that is not the one to remove is gone: %v", err)
	}
	for range 2 { // a second removal finds nothing
		if removed, err := st.RemoveObject(t.Context(), first); err != nil || !removed {
			t.Errorf("remove an object: %t, %v", removed, err)
		}
	}
	absent(t, st, first.Digest)
	if found := objects(t, st); len(found) != len(digests)-1 {
		t.Errorf("%d objects are listed after the removal of one of %d", len(found), len(digests))
	}
}

func clock(t *testing.T, st store.Store) time.Time {
	t.Helper()
	now, err := st.Clock(t.Context())
	if err != nil {
		t.Fatalf("read the store's clock: %v", err)
	}
	return now
}

func (s suite) versionTimesAreTheStores(t *testing.T) {
	st := s.fresh(t)
	if times, err := st.VersionTimes(t.Context(), "prices", 0, 0); err != nil || len(times) != 0 {
		t.Errorf("a dataset without versions: %v, %v", times, err)
	}
	before := clock(t, st)
	for v := range uint64(7) {
		rec := record("prices", v+1, fmt.Sprint("times ", v))
		rec.Created = time.Unix(0, 0) // the time of the publisher is not used
		commit(t, st, rec)
	}
	after := clock(t, st)
	for _, c := range []struct {
		from  uint64
		limit int
		want  []uint64
	}{
		{0, 0, []uint64{1, 2, 3, 4, 5, 6, 7}}, {1, 3, []uint64{1, 2, 3}}, {6, 3, []uint64{6, 7}}, {8, 0, nil},
	} {
		times, err := st.VersionTimes(t.Context(), "prices", c.from, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, v := range times {
			got = append(got, v.Version)
			if v.Time.Before(before) || v.Time.After(after) {
				t.Errorf("version %d has the time %v; it was written between %v and %v", v.Version, v.Time, before, after)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %d, at most %d: versions %v, want %v", c.from, c.limit, got, c.want)
		}
	}
	if _, err := st.VersionTimes(t.Context(), "../prices", 0, 0); err == nil {
		t.Error("a bad name is accepted")
	}
}

func (s suite) notesReadAsPut(t *testing.T) {
	st := s.fresh(t)
	names := func(prefix string) (names []string) {
		t.Helper()
		notes, err := st.Notes(t.Context(), prefix)
		if err != nil {
			t.Fatalf("list the notes: %v", err)
		}
		for _, n := range notes {
			names = append(names, n.Name)
		}
		return names
	}
	if got := names(""); len(got) != 0 {
		t.Errorf("a new store has the notes %v", got)
	}
	before := clock(t, st)
	for _, name := range []string{"mark-2", "hold-1", "mark-1"} {
		for _, text := range []string{"old", name} {
			if err := st.PutNote(t.Context(), name, []byte(text)); err != nil {
				t.Fatalf("put note %s: %v", name, err)
			}
		}
	}
	after := clock(t, st)
	if got := names(""); !slices.Equal(got, []string{"hold-1", "mark-1", "mark-2"}) {
		t.Errorf("the notes are %v", got)
	}
	if got := names("mark-"); !slices.Equal(got, []string{"mark-1", "mark-2"}) {
		t.Errorf("the marks are %v", got)
	}
	notes, err := st.Notes(t.Context(), "hold-")
	if err != nil || len(notes) != 1 || notes[0].Modified.Before(before) || notes[0].Modified.After(after) {
		t.Errorf("the holds are %v, %v; they were written between %v and %v", notes, err, before, after)
	}
	if b, err := st.Note(t.Context(), "mark-2"); err != nil || !bytes.Equal(b, []byte("mark-2")) {
		t.Errorf("the note reads as %q, %v", b, err)
	}
	for range 2 { // the second finds nothing
		if err := st.DropNote(t.Context(), "mark-2"); err != nil {
			t.Error(err)
		}
	}
	_, err = st.Note(t.Context(), "mark-2")
	wantErr(t, "read a note that was dropped", err, store.ErrNotFound)
	if err := st.PutNote(t.Context(), "large", make([]byte, store.MaxNoteBytes+1)); err == nil {
		t.Error("a note that is too large is accepted")
	}
	for _, bad := range []string{"", "../x", "A", "a/b"} {
		if err := st.PutNote(t.Context(), bad, nil); err == nil {
			t.Errorf("the name %q is accepted", bad)
		}
	}
	if names, err := st.Datasets(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("notes make the datasets %v, %v", names, err)
	}
}
