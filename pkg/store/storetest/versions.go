package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

func (s suite) emptyStore(t *testing.T) {
	st := s.fresh(t)
	_, err := st.Latest(t.Context(), "prices")
	wantErr(t, "Latest", err, store.ErrNotFound)
	_, err = st.Version(t.Context(), "prices", 1)
	wantErr(t, "Version", err, store.ErrNotFound)
	if recs, err := st.Versions(t.Context(), "prices", 0, 10); err != nil || len(recs) > 0 {
		t.Errorf("Versions: %v, %v", recs, err)
	}
	if names, err := st.Datasets(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("Datasets: %v, %v", names, err)
	}
	if newest, unread, err := st.Newest(t.Context()); err != nil || len(newest)+len(unread) > 0 {
		t.Errorf("Newest: %v, %v, %v", newest, unread, err)
	}
}

func (s suite) versionsReadAsPut(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	var recs []dataset.VersionRecord
	for v := range uint64(4) {
		rec := record("prices", v+1, fmt.Sprintf("publisher %d", v))
		if v > 0 {
			rec.Snapshot.Version = 1
			for d := range v {
				rec.Deltas = append(rec.Deltas, dataset.Object{Version: d + 2, Digest: rec.Snapshot.Digest, Bytes: 1})
			}
		}
		if v == 2 {
			rec.Labels, rec.Source, rec.Changes = nil, "", dataset.Changes{}
		}
		commit(t, st, rec)
		recs = append(recs, rec)
		latest, err := st.Latest(t.Context(), "prices")
		if err != nil {
			t.Fatal(err)
		}
		same(t, latest, rec)
	}
	for _, handle := range []store.Store{st, s.open(t, location)} {
		for _, want := range recs {
			got, err := handle.Version(t.Context(), "prices", want.Version)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		}
		for _, v := range []uint64{0, 5, 1 << 63, 1<<64 - 1} {
			_, err := handle.Version(t.Context(), "prices", v)
			wantErr(t, fmt.Sprintf("version %d", v), err, store.ErrNotFound)
		}
	}
}

func (s suite) versionsAreListedNewestFirst(t *testing.T) {
	st := s.fresh(t)
	for v := range uint64(12) {
		commit(t, st, record("prices", v+1, "p"))
	}
	for _, c := range []struct {
		before uint64
		limit  int
		want   []uint64
	}{
		{0, 3, []uint64{12, 11, 10}},
		{0, 0, []uint64{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		{4, 10, []uint64{3, 2, 1}},
		{4, 2, []uint64{3, 2}},
		{4, -1, []uint64{3, 2, 1}},
		{13, 1, []uint64{12}},
		{100, 1, []uint64{12}},
		{1<<64 - 1, 1, []uint64{12}},
		{1, 5, nil},
	} {
		recs, err := st.Versions(t.Context(), "prices", c.before, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, rec := range recs {
			got = append(got, rec.Version)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("before %d, limit %d: got %v, want %v", c.before, c.limit, got, c.want)
		}
	}
}

func (s suite) versionsNeitherRepeatNorSkip(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	try := func(version uint64, source string, want error) {
		t.Helper()
		for _, handle := range []store.Store{st, s.open(t, location)} { // the first knows the newest version, the second does not
			wantErr(t, fmt.Sprintf("commit version %d", version), handle.PutVersion(t.Context(), record("prices", version, source)), want)
		}
	}
	try(2, "p", store.ErrGap)
	try(1<<64-1, "p", store.ErrGap)
	first := record("prices", 1, "p")
	commit(t, st, first)
	wantErr(t, "commit of the very same record", st.PutVersion(t.Context(), first), store.ErrExists)
	try(1, "q", store.ErrExists)
	try(3, "p", store.ErrGap)
	commit(t, st, record("prices", 2, "p"))
	try(1, "q", store.ErrExists)
	try(2, "q", store.ErrExists)
	got, err := st.Version(t.Context(), "prices", 1)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, first)
}

func (s suite) badNamesAndRecordsAreRefused(t *testing.T) {
	st := s.fresh(t)
	for _, name := range []string{"", "..", ".", "../prices", "a/b", "/etc", "a\x00b", "Prices", "-a", "a b", "%2e%2e", strings.Repeat("a", 65)} {
		_, err := st.Latest(t.Context(), name)
		wantErr(t, fmt.Sprintf("Latest of %q", name), err, dataset.ErrName)
		_, err = st.Version(t.Context(), name, 1)
		wantErr(t, fmt.Sprintf("Version of %q", name), err, dataset.ErrName)
		_, err = st.Versions(t.Context(), name, 0, 1)
		wantErr(t, fmt.Sprintf("Versions of %q", name), err, dataset.ErrName)
		err = st.PutVersion(t.Context(), record(name, 1, "p"))
		wantErr(t, fmt.Sprintf("PutVersion of %q", name), err, dataset.ErrVersionRecord)
	}
	bad := record("prices", 1, "p")
	bad.Snapshot.Bytes = 0
	wantErr(t, "PutVersion", st.PutVersion(t.Context(), bad), dataset.ErrVersionRecord)
	_, err := st.Latest(t.Context(), "prices")
	wantErr(t, "Latest", err, store.ErrNotFound)
}

func (s suite) anotherHandlesCommitsAreSeen(t *testing.T) {
	location := s.Location(t)
	a, b := s.open(t, location), s.open(t, location)
	version := uint64(0)
	for _, burst := range []int{1, 1, 2, 5, 30} {
		for range burst {
			version++
			commit(t, a, record("prices", version, "a"))
		}
		got, err := b.Latest(t.Context(), "prices")
		if err != nil {
			t.Fatal(err)
		}
		if got.Version != version {
			t.Errorf("another handle has %d as the newest, %d is committed", got.Version, version)
		}
	}
	commit(t, b, record("prices", version+1, "b"))
	if got, err := a.Latest(t.Context(), "prices"); err != nil || got.Version != version+1 {
		t.Errorf("the newest is %d, %v; %d is committed", got.Version, err, version+1)
	}
	for _, more := range []uint64{1, 5} {
		for range more {
			version++
			commit(t, b, record("prices", version+1, "b"))
		}
		if newest, _, err := a.Newest(t.Context()); err != nil || newest["prices"].Version != version+1 {
			t.Errorf("the newest is %d, %v; %d is committed", newest["prices"].Version, err, version+1)
		}
	}
}

func (s suite) datasetsAreApart(t *testing.T) {
	st := s.fresh(t)
	names := []string{"0", "a", "a-b", "a_b", "ab", strings.Repeat("z", dataset.MaxNameBytes)}
	want := map[string]dataset.Ref{}
	for i, name := range slices.Backward(names) {
		for v := range i + 1 {
			rec := record(name, uint64(v+1), name)
			commit(t, st, rec)
			want[name] = rec.Ref()
		}
	}
	got, err := st.Datasets(t.Context())
	if err != nil || !slices.Equal(got, names) {
		t.Errorf("Datasets: %v, %v; want %v", got, err, names)
	}
	for range 2 {
		if newest, unread, err := st.Newest(t.Context()); err != nil || len(unread) > 0 || !maps.Equal(newest, want) {
			t.Errorf("Newest: %v, %v, %v; want %v", newest, unread, err, want)
		}
	}
	for i, name := range names {
		rec, err := st.Latest(t.Context(), name)
		if err != nil || rec.Dataset != name || rec.Version != uint64(i+1) {
			t.Errorf("Latest of %s: %s, %v; want version %d", name, rec.ID(), err, i+1)
		}
	}
}

func (s suite) returnedRecordsAreTheCallers(t *testing.T) {
	st := s.fresh(t)
	want := record("prices", 1, "p")
	commit(t, st, want)
	for range 3 {
		got, err := st.Latest(t.Context(), "prices")
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
		clear(got.Labels)
	}
}

func (s suite) endedContextEndsACall(t *testing.T) {
	st := s.fresh(t)
	commit(t, st, record("prices", 1, "p"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// An implementation may return what it has in memory, but no wrong result.
	if recs, err := st.Versions(ctx, "prices", 0, 0); err == nil && len(recs) != 1 {
		t.Errorf("Versions: %d of 1 and no error", len(recs))
	}
	if names, err := st.Datasets(ctx); err == nil && len(names) != 1 {
		t.Errorf("Datasets: %d of 1 and no error", len(names))
	}
	if newest, unread, err := st.Newest(ctx); err == nil && newest["prices"].Version != 1 && unread["prices"] == nil {
		t.Error("Newest: a dataset is missing, and no error")
	}
	if rec, err := st.Latest(ctx, "prices"); err == nil && rec.Version != 1 {
		t.Errorf("Latest: version %d and no error", rec.Version)
	}
}

func (s suite) storeHasOneID(t *testing.T) {
	location := s.Location(t)
	a, b := s.open(t, location), s.open(t, location)
	_, err := a.ID(t.Context())
	wantErr(t, "ID", err, store.ErrNotFound)
	ids := make(chan dataset.StoreID, 8)
	for i := range cap(ids) {
		go func() {
			id, err := []store.Store{a, b}[i%2].EnsureID(t.Context())
			if err != nil || id.IsZero() {
				t.Errorf("EnsureID: %q, %v", id, err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range cap(ids) - 1 {
		if id := <-ids; id != first {
			t.Errorf("the store has the ids %s and %s", first, id)
		}
	}
	if id, err := s.open(t, location).ID(t.Context()); err != nil || id != first {
		t.Errorf("ID: %q, %v; want %s", id, err, first)
	}
}
