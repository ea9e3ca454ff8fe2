package bootguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/subscribe/internal/cachedir"
)

const after = 30 * time.Second

func record(version uint64) dataset.VersionRecord {
	return dataset.VersionRecord{Dataset: "prices", Version: version, Source: "test"}
}

// life is a process with a guard.
type life struct {
	*Guard
	t    *testing.T
	dir  *cachedir.Dir
	stop func()
}

// start starts a process with the cache folder root.
func start(t *testing.T, root, boot string) *life {
	t.Helper()
	dir := cachedir.New(root)
	l := &life{New(dir, []string{"prices"}, after, boot), t, dir, nil}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Run(ctx, func(_ string, err error) { t.Error(err) })
	}()
	l.stop = func() { cancel(); <-done }
	if err := l.Begin("prices"); err != nil {
		t.Fatal(err)
	}
	return l
}

// dies ends the process as a crash does: the lock of the folder is released, and nothing else happens.
func (l *life) dies() {
	l.stop()
	l.dir.Close()
}

// ends stops the process normally.
func (l *life) ends() {
	l.t.Helper()
	if err := l.Stop(); err != nil {
		l.t.Fatal(err)
	}
	l.dies()
}

// serves loads and serves the version.
func (l *life) serves(version uint64) {
	l.t.Helper()
	m, err := l.Try(record(version))
	if err := errors.Join(err, l.Swapped(record(version), m)); err != nil {
		l.t.Fatal(err)
	}
	synctest.Wait()
}

// wantBarred fails unless exactly these versions are quarantined.
func (l *life) wantBarred(versions ...uint64) {
	l.t.Helper()
	var got []uint64
	for _, b := range l.Barred("prices") {
		got = append(got, b.Ref.Version)
		if !strings.Contains(b.Why, b.Ref.String()) || !strings.Contains(b.Why, l.dir.BootPath("prices")) || !l.Bars("prices", b.Ref.ID) {
			l.t.Errorf("version %d is quarantined: %s", b.Ref.Version, b.Why)
		}
	}
	if !slices.Equal(got, versions) {
		l.t.Errorf("versions %d are quarantined, want %d", got, versions)
	}
}

// trying returns the version of the mark, 0 for none.
func (l *life) trying() uint64 {
	if t := l.dir.Boot("prices").Trying; t != nil {
		return t.Version
	}
	return 0
}

// in runs f in a synctest bubble with a cache folder.
func in(t *testing.T, f func(t *testing.T, root string)) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "cache")
	synctest.Test(t, func(t *testing.T) { f(t, root) })
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTwoDeathsQuarantine(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		for deaths := range 2 {
			l := start(t, root, "boot")
			l.wantBarred()
			l.serves(7)
			if l.trying() != 7 {
				t.Errorf("after %d deaths boot.json is %+v", deaths, l.dir.Boot("prices"))
			}
			pass(after - time.Millisecond)
			l.dies()
		}
		for range 2 {
			l := start(t, root, "boot")
			l.wantBarred(7)
			l.serves(6)
			pass(2 * after)
			l.wantBarred(7) // another version that survives changes nothing
			l.dies()
		}
		l := start(t, root, "another boot")
		defer l.ends()
		l.wantBarred(7)
	})
}

// Deaths of different versions and of different boots do not add up. A process that stopped does not count, however it ended.
func TestEndsThatDoNotCount(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		for n, boot := range []string{"a", "b", "", "", "c", "d"} {
			l := start(t, root, boot)
			l.wantBarred()
			l.serves(7)
			l.serves(uint64(8 + n))
			l.dies()
		}
		for range 3 {
			l := start(t, root, "e")
			l.wantBarred()
			l.serves(9)
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
			l.serves(10)
			if l.trying() != 0 {
				t.Error("a mark was set after Stop")
			}
			l.dies()
		}
		l := start(t, root, "e")
		defer l.ends()
		l.wantBarred()
		if d := l.dir.Boot("prices").Deaths; len(d) != 0 {
			t.Errorf("boot.json counts %+v", d)
		}
	})
}

func TestConfirmation(t *testing.T) {
	for name, confirm := range map[string]func(l *life){
		"by time":         func(l *life) { l.serves(7); pass(after) },
		"by a call":       func(l *life) { l.serves(7); _ = l.Confirm(record(6)); _ = l.Confirm(record(7)) },
		"before Swapped":  func(l *life) { m, _ := l.Try(record(7)); _ = l.Confirm(record(7)); _ = l.Swapped(record(7), m) },
		"while 8 follows": func(l *life) { l.serves(7); pass(after / 2); l.serves(8); pass(after / 2) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, root string) {
				l := start(t, root, "boot")
				l.serves(7)
				l.dies()
				l = start(t, root, "boot") // one death
				confirm(l)
				if b := l.dir.Boot("prices"); !b.IsConfirmed(record(7).VersionID()) || b.IsConfirmed(record(6).VersionID()) || len(b.Deaths) > 0 {
					t.Errorf("boot.json is %+v", b)
				}
				l.ends()
				for range 3 {
					l = start(t, root, "boot")
					l.wantBarred()
					l.serves(7)
					if l.trying() != 0 {
						t.Error("a confirmed version is marked again")
					}
					l.dies()
				}
			})
		})
	}
}

// Versions that follow each other faster than they are confirmed are still confirmed, but later.
func TestConfirmationOfFrequentVersions(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		l := start(t, root, "boot")
		defer l.ends()
		for v := range uint64(100) {
			l.serves(v + 1)
			pass(time.Second)
		}
		var got []uint64
		for _, c := range l.dir.Boot("prices").Confirmed {
			got = append(got, c.Version)
		}
		if want := []uint64{1, 30, 59}; !slices.Equal(got, want) || l.trying() != 100 {
			t.Errorf("versions %d are confirmed, and %d is being tried; want %d and 100", got, l.trying(), want)
		}
	})
}

func TestUndoMarksTheServedVersion(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		l := start(t, root, "boot")
		defer l.ends()
		l.serves(6)
		late, err := l.Try(record(7))
		if err != nil || l.trying() != 7 {
			t.Errorf("version %d is marked, %v", l.trying(), err)
		}
		mark, err := l.Try(record(7))
		if err != nil {
			t.Error(err)
		}
		l.Undo(late) // an abandoned attempt at the same version that returns late
		if l.trying() != 7 {
			t.Error("the wrong mark was removed")
		}
		l.Undo(mark)
		if l.trying() != 6 {
			t.Errorf("version %d is marked, want 6", l.trying())
		}
		pass(after)
		if mark, err = l.Try(record(7)); err != nil {
			t.Error(err)
		}
		l.Undo(mark)
		if l.trying() != 0 {
			t.Errorf("version %d is marked", l.trying())
		}
	})
}

// A confirmed version stays confirmed under another id. For a version on probation, the probation starts again.
func TestAdopt(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		other := func(v uint64) dataset.VersionRecord {
			r := record(v)
			r.StoreID = dataset.StoreID{1}
			return r
		}
		l := start(t, root, "boot")
		defer l.ends()
		l.serves(6)
		pass(after)
		m, err := l.Adopt(record(6).VersionID(), other(6))
		if err := errors.Join(err, l.Swapped(other(6), m)); err != nil {
			t.Error(err)
		}
		if b := l.dir.Boot("prices"); !b.IsConfirmed(other(6).VersionID()) || b.Trying != nil {
			t.Errorf("boot.json is %+v", b)
		}
		l.serves(7)
		m, err = l.Adopt(record(7).VersionID(), other(7))
		if err := errors.Join(err, l.Swapped(other(7), m)); err != nil {
			t.Error(err)
		}
		if b := l.dir.Boot("prices"); b.Trying == nil || b.Trying.Ref != other(7).Ref() {
			t.Errorf("boot.json is %+v", b)
		}
	})
}

// A process that does not hold the folder respects the quarantine in the file and writes nothing until it holds the folder.
func TestSecondProcess(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		for range 2 {
			l := start(t, root, "boot")
			l.serves(7)
			l.dies()
		}
		first := start(t, root, "boot")
		first.serves(6)
		second := &life{New(cachedir.New(root), []string{"prices"}, after, "boot"), t, nil, func() {}}
		second.dir = second.Guard.dir
		if err := second.Begin("prices"); !errors.Is(err, cachedir.ErrShared) {
			t.Errorf("Begin returned %v", err)
		}
		second.wantBarred(7)
		second.serves(5)
		if first.trying() != 6 {
			t.Errorf("version %d is marked", first.trying())
		}
		first.dies()
		second.serves(5)
		if b := second.dir.Boot("prices"); second.trying() != 5 || len(b.Deaths) != 2 || b.Deaths[1].Version != 6 {
			t.Errorf("boot.json is %+v, want the mark of 5 and a death of 6", b)
		}
		second.ends()
	})
}

// A disk that hangs does not block calls for long, and a stop that cannot write the file does not count as a death.
func TestDiskErrors(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		l := start(t, root, "boot")
		l.serves(7)
		s := l.lock("prices")
		if _, err := l.Try(record(8)); !errors.Is(err, ErrBusy) {
			t.Errorf("Try returned %v", err)
		}
		if err := l.Confirm(record(7)); !errors.Is(err, ErrBusy) {
			t.Errorf("Confirm returned %v", err)
		}
		if err := l.Stop(); !errors.Is(err, ErrBusy) {
			t.Errorf("Stop returned %v", err)
		}
		s.unlock()
		synctest.Wait()

		path := filepath.Join(root, "prices", "boot.json")
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Try(record(8)); err == nil || !strings.Contains(err.Error(), l.dir.BootPath("prices")) {
			t.Errorf("Try returned %v, want an error that names the file", err)
		}
		l.ends() // a file that cannot be written is removed
		l = start(t, root, "boot")
		defer l.ends()
		if b := l.dir.Boot("prices"); len(b.Deaths) != 0 {
			t.Errorf("boot.json is %+v", b)
		}
	})
}

// A damaged file counts as empty, and the number of versions in the file is bounded.
func TestBootFileIsBoundedAndMayBeDamaged(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		for v := range uint64(40) {
			l := start(t, root, "boot")
			l.serves(v/2 + 1)
			l.dies()
		}
		l := start(t, root, "boot")
		if n := len(l.Barred("prices")); n != 8 {
			t.Errorf("%d versions are quarantined, want the last 8", n)
		}
		l.ends()
		if err := os.WriteFile(l.dir.BootPath("prices"), []byte(`{"deaths":`), 0o600); err != nil {
			t.Fatal(err)
		}
		l = start(t, root, "boot")
		defer l.ends()
		l.wantBarred()
		l.serves(1)
	})
}

func TestNilGuardDoesNothing(t *testing.T) {
	var g *Guard
	rec := record(1)
	tried, tryErr := g.Try(rec)
	adopted, adoptErr := g.Adopt(rec.VersionID(), rec)
	err := errors.Join(g.Begin("prices"), tryErr, g.Swapped(rec, tried), adoptErr, g.Confirm(rec), g.Stop())
	g.Undo(adopted)
	if err != nil || g.Bars("prices", rec.VersionID()) || g.Barred("prices") != nil {
		t.Error(fmt.Sprint(err))
	}
}

func TestBootID(t *testing.T) {
	text, err := os.ReadFile(bootFile)
	if id := BootID(); id != strings.TrimSpace(string(text)) || err == nil && id == "" {
		t.Errorf("the boot id is %q, the file has %q", id, text)
	}
}
