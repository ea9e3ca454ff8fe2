package bootguard

import (
	"errors"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// A dataset that is not at fault keeps its version, even if that version was not confirmed when a version of another dataset killed the
// process. If the process dies of it later, it is also quarantined.
func TestSeveralDatasets(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		names := []string{"a", "prices", "rules"}
		of := func(name string, v uint64) dataset.VersionRecord {
			r := record(v)
			r.Dataset = name
			return r
		}
		live := func(recs ...dataset.VersionRecord) map[string]int {
			dir := cachedir.New(root)
			defer dir.Close()
			g := New(dir, names, after, "boot")
			barred := map[string]int{}
			for _, name := range names {
				if err := g.Begin(name); err != nil {
					t.Error(err)
				}
				if n := len(g.Barred(name)); n > 0 {
					barred[name] = n
				}
			}
			for _, r := range recs {
				if g.Bars(r.Dataset, r.VersionID()) {
					continue
				}
				m, err := g.Try(r)
				if err := errors.Join(err, g.Swapped(r, m)); err != nil {
					t.Error(err)
				}
				pass(time.Millisecond)
			}
			return barred
		}
		live(of("a", 1), of("rules", 1), of("prices", 7)) // the last version kills the process
		live(of("prices", 7), of("rules", 1), of("a", 1)) // from the cache folder, in any order
		if got := live(of("rules", 1), of("prices", 7), of("a", 1)); len(got) != 1 || got["prices"] != 1 {
			t.Errorf("versions of %v are quarantined, want of prices", got)
		}
		if got := live(); len(got) != 2 || got["rules"] != 1 {
			t.Errorf("after one more death versions of %v are quarantined, want of prices and rules", got)
		}
	})
}

// A disk that hangs at the start delays the count of the death, for whatever dataset it hangs. One of the datasets that the process died
// with is quarantined.
func TestSeveralDatasetsWhenTheDiskHangsAtTheStart(t *testing.T) {
	names := []string{"a", "prices", "rules"}
	of := func(name string) dataset.VersionRecord {
		r := record(1)
		r.Dataset = name
		return r
	}
	for _, hangs := range names {
		t.Run(hangs, func(t *testing.T) {
			in(t, func(t *testing.T, root string) {
				for range 2 {
					dir := cachedir.New(root)
					g := New(dir, names, after, "boot")
					for _, name := range names {
						err := g.Begin(name)
						m, tryErr := g.Try(of(name))
						if err := errors.Join(err, tryErr, g.Swapped(of(name), m)); err != nil {
							t.Error(err)
						}
						pass(time.Millisecond)
					}
					dir.Close()
				}
				dir := cachedir.New(root)
				defer dir.Close()
				g := New(dir, names, after, "boot")
				disk, once := cachedir.NewDisk(), sync.Once{}
				disk.At = func(path string) {
					if path == dir.BootPath(hangs) {
						once.Do(func() { <-time.After(2 * cachedir.DefaultPatience) })
					}
				}
				dir.SetDisk(disk)
				for _, name := range names {
					if err := g.Begin(name); !errors.Is(err, cachedir.ErrHangs) {
						t.Errorf("Begin of %s returned %v", name, err)
					}
					if m, err := g.Try(of(name)); m != nil || !errors.Is(err, cachedir.ErrHangs) {
						t.Errorf("Try of %s returned %v", name, err)
					}
					if n := len(g.Barred(name)); n > 0 {
						t.Errorf("while the folder hangs, %d versions of %s are quarantined", n, name)
					}
				}
				pass(time.Minute)
				for _, name := range []string{"prices", "a", "rules"} {
					if _, err := g.Try(of(name)); err != nil {
						t.Error(err)
					}
					if n := len(g.Barred(name)); (n == 1) != (name == "rules") {
						t.Errorf("%d versions of %s are quarantined, want one version of the dataset that was tried last", n, name)
					}
				}
			})
		})
	}
}

// An abandoned load returns after another load of the same version was served: the version stays on probation.
func TestAbandonedLoadLeavesTheProbation(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		l := start(t, root, "boot")
		defer l.ends()
		stored, err := l.Try(record(7))
		m, tryErr := l.Try(record(7))
		later, laterErr := l.Try(record(7))
		if err := errors.Join(err, tryErr, laterErr, l.Swapped(record(7), m)); err != nil {
			t.Fatal(err)
		}
		l.Undo(stored)
		l.Undo(later)
		if l.trying() != 7 {
			t.Errorf("boot.json is %+v, want the mark of 7", l.dir.Boot("prices"))
		}
		pass(after)
		if b := l.dir.Boot("prices"); b.Trying != nil || !b.IsConfirmed(record(7).VersionID()) {
			t.Errorf("boot.json is %+v, want that 7 is confirmed", b)
		}
	})
}
