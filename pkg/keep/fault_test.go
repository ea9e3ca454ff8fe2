package keep_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
)

var errDied = errors.New("the process has died")

// dying is a store of a process that dies before one of its writes: no later call does anything.
type dying struct {
	store.Store
	writes int // before it dies; negative: it lives
}

func (s *dying) write() error {
	if s.writes == 0 {
		return errDied
	}
	if s.writes > 0 {
		s.writes--
	}
	return nil
}

func (s *dying) RemoveObject(ctx context.Context, o store.StoredObject) (bool, error) {
	if err := s.write(); err != nil {
		return false, err
	}
	return s.Store.RemoveObject(ctx, o)
}

func (s *dying) PutNote(ctx context.Context, name string, content []byte) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.PutNote(ctx, name, content)
}

func (s *dying) DropNote(ctx context.Context, name string) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.DropNote(ctx, name)
}

func (s *dying) PutEntry(ctx context.Context, e dataset.Entry) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.PutEntry(ctx, e)
}

// A collector may die before each of its writes: the store verifies without a finding, all kept versions can be read, and a later run ends
// the work.
func TestDiesAnywhere(t *testing.T) {
	for writes := 0; ; writes++ {
		inner, err := dir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		st := &dying{inner, -1}
		r := rigOn(t, st)
		for i := range 3 {
			r.publish(t, "prices", records(20, i))
			r.publish(t, "cities", records(20, 100+i))
		}
		r.set(t, "prices", `{"keep_versions":1}`)
		r.set(t, "cities", `{"keep_versions":2}`)
		r.pass(t, 2*time.Hour)
		if writes%2 == 1 { // of the removal, not of the marks
			r.gc(t)
			r.pass(t, 2*time.Hour)
		}
		st.writes = writes / 2
		_, err = r.collector.Run(t.Context(), keep.Request{})
		if err != nil && !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		st.writes = -1
		r.clean(t)
		for name, newest := range map[string][]uint64{"prices": {3}, "cities": {2, 3}} {
			list := r.readable(t, name)
			if !slices.Equal(list[len(list)-len(newest):], newest) {
				t.Errorf("after %d writes the versions %v of %s can be read", writes/2, list, name)
			}
		}
		r.open(t)
		r.collect(t)
		equal(t, "prices", r.readable(t, "prices"), []uint64{3})
		equal(t, "cities", r.readable(t, "cities"), []uint64{2, 3})
		r.clean(t)
		if notes, e := r.store.Notes(t.Context(), ""); e != nil || len(notes) != 1 {
			t.Errorf("after %d writes the notes %v are left, %v; want that of the clock", writes/2, notes, e)
		}
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
		if err == nil && writes%2 == 1 {
			if writes < 10 {
				t.Errorf("the run has only %d writes", writes/2)
			}
			return
		}
	}
}
