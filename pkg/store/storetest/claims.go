package storetest

import (
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

func (s suite) claimsReadAsPut(t *testing.T) {
	location := s.Location(t)
	st := s.open(t, location)
	_, err := st.NewestClaim(t.Context(), "prices", 0, 1<<62)
	wantErr(t, "NewestClaim of nothing", err, store.ErrNotFound)
	if err := st.DropClaim(t.Context(), "prices", 7); err != nil {
		t.Errorf("DropClaim of nothing: %v", err)
	}
	claims := map[uint64]dataset.Claim{}
	for _, v := range []uint64{7, 3, 80} {
		claims[v] = dataset.Claim{Dataset: "prices", Version: v, Owner: "me", Hold: time.Second}
		if err := st.PutClaim(t.Context(), claims[v]); err != nil {
			t.Fatal(err)
		}
	}
	other := claims[7]
	other.Owner = "another"
	wantErr(t, "another claim of that version", st.PutClaim(t.Context(), other), store.ErrExists)
	wantErr(t, "no claim", st.PutClaim(t.Context(), dataset.Claim{Dataset: "prices", Version: 9, Owner: "me"}), dataset.ErrClaim)
	newest := func(after, upTo, want uint64) {
		t.Helper()
		for _, handle := range []store.Store{st, s.open(t, location)} {
			got, err := handle.NewestClaim(t.Context(), "prices", after, upTo)
			if want == 0 {
				wantErr(t, "NewestClaim", err, store.ErrNotFound)
			} else if err != nil || got != claims[want] {
				t.Errorf("NewestClaim after %d up to %d is %+v, %v; want %d", after, upTo, got, err, want)
			}
		}
	}
	newest(0, 1<<62, 80)
	newest(0, 79, 7)
	newest(3, 7, 7)
	newest(7, 79, 0)
	newest(0, 2, 0)
	for range 2 {
		if err := st.DropClaim(t.Context(), "prices", 7); err != nil {
			t.Fatal(err)
		}
		newest(0, 79, 3)
	}
	if err := st.PutClaim(t.Context(), other); err != nil {
		t.Errorf("a claim after a dropped one: %v", err)
	}
	if names, err := st.Datasets(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("the datasets are %v, %v", names, err)
	}
}
