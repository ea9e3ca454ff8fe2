package hold_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/hold"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/dir"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type rig struct {
	*dir.Store
	folder string
}

func open(t *testing.T) rig {
	t.Helper()
	folder := t.TempDir()
	st, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return rig{st, folder}
}

// age makes the only note whose name matches the pattern as old as d.
func (r rig) age(t *testing.T, pattern string, d time.Duration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.folder, "gc", pattern))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	old := time.Now().Add(-d)
	if err := os.Chtimes(files[0], old, old); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, st store.Store, text string) dataset.Object {
	t.Helper()
	o := dataset.Object{Version: 1, Digest: sha256.Sum256([]byte(text)), Bytes: int64(len(text))}
	if err := st.PutObject(t.Context(), o.Digest, o.Bytes, bytes.NewReader([]byte(text))); err != nil {
		t.Fatal(err)
	}
	return o
}

func notes(t *testing.T, st store.Store) int {
	t.Helper()
	list, err := st.Notes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A collection sees a hold that was taken before, and removes it once its publisher must be dead.
func TestHeld(t *testing.T) {
	st := open(t)
	a, b := put(t, st, "a"), put(t, st, "b")
	h, err := hold.Take(t.Context(), st, []dataset.Object{a})
	if err != nil {
		t.Fatal(err)
	}
	both := []dataset.Digest{a.Digest, b.Digest}
	sweep, held, err := hold.Begin(t.Context(), st, both)
	if err != nil || !held[a.Digest] || held[b.Digest] {
		t.Fatalf("held are %v, %v", held, err)
	}
	if _, _, err := hold.Begin(t.Context(), st, both); !errors.Is(err, hold.ErrSweeping) {
		t.Errorf("a second sweep: %v", err)
	}
	if n := notes(t, st); n != 2 {
		t.Errorf("after a second sweep that is refused there are %d notes, want the hold and the first sweep", n)
	}
	sweep.Drop(t.Context())
	st.age(t, "hold-*", 25*time.Hour)
	sweep, held, err = hold.Begin(t.Context(), st, both)
	if err != nil || len(held) != 0 {
		t.Fatalf("a day later held are %v, %v", held, err)
	}
	sweep.Drop(t.Context())
	h.Drop(t.Context()) // it is gone
	if n := notes(t, st); n != 0 {
		t.Errorf("%d notes are left", n)
	}
}

// A hold waits for a sweep that names its object, and fails if the object was removed.
func TestWaitsForASweep(t *testing.T) {
	for _, removes := range []bool{false, true} {
		st := open(t)
		a, b := put(t, st, "a"), put(t, st, "b")
		sweep, _, err := hold.Begin(t.Context(), st, []dataset.Digest{a.Digest})
		if err != nil {
			t.Fatal(err)
		}
		other, err := hold.Take(t.Context(), st, []dataset.Object{b})
		if err != nil {
			t.Fatal(err) // it does not wait
		}
		other.Drop(t.Context())
		watched := &listed{Store: st, lists: make(chan struct{}, 1)}
		taken := make(chan error)
		go func() {
			h, err := hold.Take(t.Context(), watched, []dataset.Object{a})
			h.Drop(context.Background())
			taken <- err
		}()
		<-watched.lists // it has seen the sweep
		select {
		case err := <-taken:
			t.Fatalf("the hold does not wait: %v", err)
		default:
		}
		if removes {
			if err := os.Remove(filepath.Join(st.folder, "objects", a.Digest.String()[:2], a.Digest.String())); err != nil {
				t.Fatal(err)
			}
		}
		sweep.Drop(t.Context())
		if err := <-taken; removes != errors.Is(err, store.ErrNotFound) || !removes && err != nil {
			t.Errorf("removed %t: %v", removes, err)
		}
		if n := notes(t, st); n != 0 {
			t.Errorf("%d notes are left", n)
		}
	}
}

// listed tells when the notes have been listed for the second time.
type listed struct {
	store.Store
	n     int
	lists chan struct{}
}

func (s *listed) Notes(ctx context.Context, prefix string) ([]store.NoteInfo, error) {
	if s.n++; s.n == 2 {
		s.lists <- struct{}{}
	}
	return s.Store.Notes(ctx, prefix)
}

// A sweep of a collection that died does not stop publishers for ever, and an object of another size is damaged.
func TestDeadSweepAndDamage(t *testing.T) {
	st := open(t)
	a := put(t, st, "a")
	if _, _, err := hold.Begin(t.Context(), st, []dataset.Digest{a.Digest}); err != nil {
		t.Fatal(err)
	}
	st.age(t, "sweep-*", 2*time.Minute) // its collection may remove objects
	if _, _, err := hold.Begin(t.Context(), st, nil); !errors.Is(err, hold.ErrSweeping) {
		t.Errorf("beside a sweep of two minutes ago: %v", err)
	}
	st.age(t, "sweep-*", 4*time.Minute)
	h, err := hold.Take(t.Context(), st, []dataset.Object{a})
	if err != nil {
		t.Fatal(err)
	}
	h.Drop(t.Context())
	a.Bytes++
	if _, err := hold.Take(t.Context(), st, []dataset.Object{a}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("an object of another size: %v", err)
	}
	sweep, _, err := hold.Begin(t.Context(), st, nil)
	if err != nil {
		t.Fatal(err)
	}
	sweep.Drop(t.Context())
	if n := notes(t, st); n != 0 {
		t.Errorf("%d notes are left", n)
	}
}
