package cachedir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trying returns a Boot with the mark of the version.
func trying(version uint64) Boot { return Boot{Trying: &Trial{Ref: record("prices", version).Ref()}} }

func wantTrying(t *testing.T, d *Dir, name string, version uint64) {
	t.Helper()
	if b := d.Boot(name); b.Trying == nil || b.Trying.Version != version {
		t.Errorf("boot.json of %s is %+v, want the mark of version %d", name, b, version)
	}
}

// syncHangs makes the syncs of files of the name hang until release is called.
func syncHangs(d *Dir, name string) (release func()) {
	gate := make(chan struct{})
	disk := NewDisk()
	disk.Sync = func(f *os.File) error {
		if filepath.Base(f.Name()) == name {
			<-gate
		}
		return f.Sync()
	}
	d.SetDisk(disk)
	return func() { close(gate) }
}

// Invariant: while the sync of one boot.json hangs, the file and those of other datasets are read and written, and the folder does not
// hang before the end of the patience for a sync. The content of the last call remains.
func TestSyncOfBootHoldsUpNoCall(t *testing.T) {
	for _, hangs := range []string{bootName, "prices"} {
		t.Run(hangs, func(t *testing.T) {
			root := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				d := New(root)
				release := syncHangs(d, hangs)
				if err := d.SetBoot("prices", trying(1)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				slow := errors.New("slow")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, slow)
				defer cancel()
				if err := d.SyncBoot(ctx, "prices"); !errors.Is(err, slow) || !strings.Contains(err.Error(), d.BootPath("prices")) {
					t.Errorf("SyncBoot returned %v", err)
				}
				if err := errors.Join(d.SetBoot("prices", trying(2)), d.SetBoot("rules", trying(3))); err != nil {
					t.Error(err)
				}
				wantTrying(t, d, "prices", 2)
				wantTrying(t, d, "rules", 3)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the calls took %s", took)
				}
				if err := d.SyncBoot(t.Context(), "prices"); !errors.Is(err, ErrHangs) {
					t.Errorf("after %s SyncBoot returned %v", time.Since(began), err)
				}
				if err := d.SetBoot("rules", trying(4)); !errors.Is(err, ErrHangs) {
					t.Errorf("SetBoot returned %v", err)
				}
				release()
				synctest.Wait()
				if err := errors.Join(d.SyncBoot(t.Context(), "prices"), d.SetBoot("rules", trying(5))); err != nil {
					t.Error(err)
				}
				wantTrying(t, d, "prices", 2)
				wantTrying(t, d, "rules", 5)
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A call that was abandoned and starts late does not replace the content of a later call.
func TestLateSetBootReplacesNoLaterContent(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	set := func(version uint64) {
		t.Helper()
		if err := d.SetBoot("prices", trying(version)); err != nil {
			t.Fatal(err)
		}
	}
	set(1)
	set(2)
	w := d.bootWrites("prices")
	w.calls.Add(^uint64(1)) // the next call is the one before the last
	set(7)
	wantTrying(t, d, "prices", 2)
	if err := d.RemoveBoot("prices"); err != nil { // as late as the last
		t.Fatal(err)
	}
	if has, err := d.HasBoot("prices"); has || err != nil {
		t.Errorf("boot.json exists: %v, %v", has, err)
	}
}

// Every operation of SetBoot is timed: open, stat, write and close.
func TestEveryOperationOfSetBootIsTimed(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	if err := d.SetBoot("prices", trying(1)); err != nil {
		t.Fatal(err)
	}
	disk, operations := NewDisk(), 0
	disk.At = func(path string) {
		if path == d.BootPath("prices") {
			operations++
		}
	}
	d.SetDisk(disk)
	if err := d.SetBoot("prices", trying(2)); err != nil {
		t.Fatal(err)
	}
	if operations != 4 {
		t.Errorf("%d operations are timed, want 4", operations)
	}
}

// A boot.json that may not be written is replaced.
func TestSetBootReplacesAReadOnlyFile(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	err := d.SetBoot("prices", trying(1))
	if err := errors.Join(err, os.Chmod(d.BootPath("prices"), 0o400), d.SetBoot("prices", trying(2))); err != nil {
		t.Fatal(err)
	}
	wantTrying(t, d, "prices", 2)
}
