package storetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
)

// damages are ways to damage an object at rest.
var damages = map[string]func(path string) error{
	"one bit": func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, b, 0o644))
	},
	"cut short": func(path string) error { return errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 10)) },
	"removed":   os.Remove,
}

func (s suite) damagedObjectIsRepaired(t *testing.T) {
	st := s.fresh(t)
	for _, n := range []int64{100, s.LargeBytes} {
		b, d := content(n, 12)
		verify := func() error { return store.VerifyObject(t.Context(), st, d, n) }
		wantErr(t, "a missing object", verify(), store.ErrNotFound)
		put(t, st, b, d)
		if err := verify(); err != nil {
			t.Errorf("an intact object: %v", err)
		}
		wantErr(t, "another size", store.VerifyObject(t.Context(), st, d, n-1), store.ErrDamaged)
		for what, damage := range damages {
			if err := damage(s.File(st.ObjectPlace(d))); err != nil {
				t.Fatal(err)
			}
			want := store.ErrDamaged
			if what == "removed" {
				want = store.ErrNotFound
			}
			err := verify()
			wantErr(t, what, err, want)
			if err == nil || !strings.Contains(err.Error(), d.String()) || !strings.Contains(err.Error(), st.ObjectPlace(d)) {
				t.Errorf("%s: the error lacks the object or the place: %v", what, err)
			}
			if replaced, err := st.RepairObject(t.Context(), d, n, bytes.NewReader(b)); err != nil || !replaced {
				t.Errorf("%s: replaced is %t: %v", what, replaced, err)
			}
			if got := read(t, st, d, 0, -1); !bytes.Equal(got, b) {
				t.Errorf("%s: after the repair the object reads as %d other bytes", what, len(got))
			}
			if replaced, err := st.RepairObject(t.Context(), d, n, iotest.ErrReader(errors.New("it was read"))); err != nil || replaced {
				t.Errorf("%s: a repair of an intact object: replaced is %t: %v", what, replaced, err)
			}
		}
	}
}

// failedRepairChangesNothing checks that a repair that fails leaves the object as it is and does not report it as replaced.
func (s suite) failedRepairChangesNothing(t *testing.T) {
	st := s.fresh(t)
	b, d := content(s.LargeBytes, 13)
	put(t, st, b, d)
	if err := damages["one bit"](s.File(st.ObjectPlace(d))); err != nil {
		t.Fatal(err)
	}
	damaged := read(t, st, d, 0, -1)
	fault := errors.New("disk on fire")
	for what, c := range map[string]struct {
		digest dataset.Digest
		src    io.Reader
		want   error
	}{
		"wrong content":  {d, bytes.NewReader(damaged), store.ErrMismatch},
		"failing source": {d, io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(fault)), fault},
		"no digest":      {dataset.Digest{}, bytes.NewReader(b), store.ErrMismatch},
	} {
		replaced, err := st.RepairObject(t.Context(), c.digest, int64(len(b)), c.src)
		wantErr(t, what, err, c.want)
		if replaced {
			t.Errorf("%s: it is reported as replaced", what)
		}
		if got := read(t, st, d, 0, -1); !bytes.Equal(got, damaged) {
			t.Errorf("%s: the object has changed", what)
		}
	}
}
