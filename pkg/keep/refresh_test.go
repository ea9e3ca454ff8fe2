package keep_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/journal"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

// hooked is a store that calls sweeping, once, when a sweep begins: the collection has planned.
type hooked struct {
	store.Store
	sweeping func()
}

func (s *hooked) PutNote(ctx context.Context, name string, content []byte) error {
	if f := s.sweeping; f != nil && strings.HasPrefix(name, "sweep-") {
		s.sweeping = nil
		f()
	}
	return s.Store.PutNote(ctx, name, content)
}

// marked returns a rig on a store that can be hooked, with six versions of which all but the newest are marked.
func marked(t *testing.T) (*rig, *hooked) {
	t.Helper()
	inner, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	st := &hooked{Store: inner}
	r := rigOn(t, st)
	for i := range 6 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":1}`)
	r.pass(t, 2*time.Hour)
	if report := r.gc(t); report.Marked.Objects == 0 {
		t.Fatalf("nothing is marked: %+v", report)
	}
	r.pass(t, 2*time.Hour)
	return r, st
}

// A retention that is set while a collection runs keeps what it keeps.
func TestRetentionIsSetMeanwhile(t *testing.T) {
	r, st := marked(t)
	st.sweeping = func() { r.set(t, "prices", `{"keep_versions":4}`) }
	report := r.gc(t)
	if report.Removed.Objects != 0 || len(report.Waiting) != 1 || !strings.Contains(report.Waiting[0], "its retention was changed") {
		t.Errorf("the report is %+v", report)
	}
	r.collect(t)
	equal(t, "of the new retention", r.readable(t, "prices"), []uint64{3, 4, 5, 6})
	r.clean(t)
}

// A new dataset does not stop a collection that runs. Versions that are pinned, and snapshots that are written, during the run are kept.
func TestChangesMeanwhile(t *testing.T) {
	r, st := marked(t)
	st.sweeping = func() {
		r.publish(t, "cities", records(50, 1)) // it shares an object with version 2 of prices
		r.set(t, "cities", `{"keep_versions":1}`)
		rec, err := r.store.Version(t.Context(), "prices", 3)
		if err != nil {
			t.Error(err)
		}
		r.pinned["prices"] = []dataset.Ref{rec.Ref()}
	}
	report := r.gc(t)
	if report.Removed.Objects == 0 || len(report.Waiting) != 0 {
		t.Errorf("the report is %+v", report)
	}
	equal(t, "cities", r.readable(t, "cities"), []uint64{1})
	if list := r.readable(t, "prices"); list[len(list)-1] != 6 || list[len(list)-2] != 3 {
		t.Errorf("readable are %v, want the newest and the pinned version", list)
	}
	r.clean(t)
}

// If an older copy of the store is put in its place while a collection runs, nothing is removed by the plan for the one before.
func TestStoreIsReplacedMeanwhile(t *testing.T) {
	for _, newest := range []uint64{4, 6} {
		r, st := marked(t)
		st.sweeping = func() {
			for version := uint64(6); version > 4; version-- {
				if err := os.Remove(r.store.RecordPlace("prices", version)); err != nil {
					t.Error(err)
				}
			}
			other, err := dir.OpenExisting(r.folder(t))
			if err != nil {
				t.Error(err)
			}
			defer other.Close()
			again := rigOn(t, other) // it has not seen the records
			for i := uint64(4); i < newest; i++ {
				again.publish(t, "prices", records(50, 100+int(i)))
			}
		}
		report := r.gc(t)
		if report.Removed.Objects != 0 || len(report.Waiting) != 1 || !strings.Contains(report.Waiting[0], "the next run makes a new plan") {
			t.Errorf("newest %d: the report is %+v", newest, report)
		}
		if list := r.readable(t, "prices"); uint64(len(list)) != newest {
			t.Errorf("newest %d: readable are %v", newest, list)
		}
	}
}

// A version that the journal calls gone, whose objects are there, keeps them while an instance serves it or is pinned to it.
func TestGoneIsServed(t *testing.T) {
	r := newRig(t)
	for i := range 4 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":1}`)
	_, err := r.journal.Append(t.Context(), "prices", journal.Note{Kind: dataset.EntryGC, Content: func(context.Context, uint64) (any, error) {
		gone := dataset.VersionRanges{}.Add(1).Add(2).Add(3)
		return dataset.Removal{Versions: gone, Gone: gone, Objects: 1}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, served := range []uint64{2, 4} {
		r.served = map[string][]dataset.Ref{"prices": {{Version: served}}}
		r.collect(t)
		rec, err := r.store.Version(t.Context(), "prices", 2)
		if err == nil {
			err = store.VerifyObject(t.Context(), r.store, rec.Snapshot.Digest, rec.Snapshot.Bytes)
		}
		if (err == nil) != (served == 2) {
			t.Errorf("while version %d is served, version 2 has its snapshot: %v", served, err)
		}
		r.clean(t)
	}
}

// A missing record of a kept version ends the run, as a damaged one does: what it names is unknown.
func TestMissingRecord(t *testing.T) {
	r := newRig(t)
	for i := range 6 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":3}`)
	place := r.store.RecordPlace("prices", 5)
	if err := os.Rename(place, place+".away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.pass(t, 2*time.Hour)
		if _, err := r.collector.Run(t.Context(), keep.Request{}); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "freshet verify prices") {
			t.Errorf("a missing record of a kept version: %v", err)
		}
	}
	if err := os.Rename(place+".away", place); err != nil {
		t.Fatal(err)
	}
	r.collect(t)
	equal(t, "kept", r.readable(t, "prices"), []uint64{4, 5, 6})
	r.clean(t)
}
