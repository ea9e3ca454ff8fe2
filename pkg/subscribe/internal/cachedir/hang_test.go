package cachedir

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Invariant: while the creation of a file for one dataset hangs, no call blocks, whatever its dataset is. When the disk returns, the drafts
// undo their work, and the folder works again.
func TestOneOperationThatHangsBlocksNoCall(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	mustPut(t, d, "prices", 1)
	mustPut(t, d, "rules", 1)
	before := files(t, root)
	changes := make(chan error, 8)
	d.Watch(func(err error) { changes <- err })
	gate := make(chan struct{})
	d.SetDisk(Disk{Patience: 500 * time.Millisecond, Free: endless, Create: func(dir, pattern string) (*os.File, error) {
		<-gate
		return os.CreateTemp(dir, pattern)
	}})

	calls := map[string]func() error{
		"commit":             func() error { return put(d, "prices", 2) },
		"commit of another":  func() error { return put(d, "rules", 2) },
		"held":               func() error { _, err := d.Held("rules"); return err },
		"stored":             func() error { _, err := d.Stored("rules"); return err },
		"boot":               func() error { _, err := d.ReadBoot("rules"); return err },
		"set boot":           func() error { return d.SetBoot("rules", Boot{}) },
		"settle":             func() error { return d.Settle("prices", record("prices", 1)) },
		"discard":            func() error { return d.Discard("prices") },
		"clean":              func() error { return d.Clean([]string{"prices", "rules"}) },
		"commit after these": func() error { return put(d, "prices", 3) },
	}
	// The first call detects the hang. The others do not start.
	order := []string{"commit", "commit of another", "held", "stored", "boot", "set boot", "settle", "discard", "clean", "commit after these"}
	started := time.Now()
	for _, name := range order {
		if err := calls[name](); !errors.Is(err, ErrHangs) {
			t.Errorf("%s returned %v, want that the folder hangs", name, err)
		}
	}
	if d := time.Since(started); d > 20*time.Second {
		t.Errorf("the calls took %s", d)
	}
	if err := <-changes; !errors.Is(err, ErrHangs) || !strings.Contains(err.Error(), root) {
		t.Errorf("the folder's watcher received %v", err)
	}
	close(gate)
	if err := <-changes; err != nil {
		t.Errorf("the folder's watcher received %v", err)
	}
	// The draft undoes its work on another goroutine.
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; {
		got := files(t, root)
		if slices.Equal(got, before) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the folder has %q, want %q", got, before)
		}
		<-poll.C
	}
	mustPut(t, d, "prices", 2)
	check(t, d, "prices", 2)
	check(t, d, "rules", 1)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := put(d, "prices", 3); !errors.Is(err, errClosed) {
		t.Errorf("after Close a commit returned %v", err)
	}
}

// When a process continues after it was stopped for longer than the patience, the first timer is due. The operation can return within the
// second half of the patience before the folder hangs.
func TestStoppedProcessFindsNoHang(t *testing.T) {
	d := New(t.TempDir())
	defer d.Close()
	d.SetDisk(Disk{Patience: time.Hour})
	end, err := d.startOperation("file", d.patience())
	if err != nil {
		t.Fatal(err)
	}
	end()
	o := &operation{dir: d, path: "file", started: time.Now(), patience: time.Hour, overdue: make(chan struct{}), timer: time.NewTimer(time.Hour)}
	if o.due(); d.Hangs() != nil {
		t.Errorf("after the first half of the patience the folder hangs: %v", d.Hangs())
	}
	if o.due(); !errors.Is(d.Hangs(), ErrHangs) {
		t.Errorf("after the second half of the patience Hangs returned %v", d.Hangs())
	}
	if o.end(); d.Hangs() != nil {
		t.Errorf("after the operation the folder hangs: %v", d.Hangs())
	}
}

// An operation that takes longer than the patience makes the folder hang, and a shorter one does not.
func TestPatienceIsThatOfTheDisk(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			patience, takes time.Duration
			hangs           bool
		}{{500 * time.Millisecond, 490 * time.Millisecond, false}, {500 * time.Millisecond, 510 * time.Millisecond, true}, {0, 20 * time.Second, false}} {
			d := New(root)
			disk := NewDisk()
			disk.Patience, disk.At = tc.patience, func(string) { time.Sleep(tc.takes) }
			d.SetDisk(disk)
			if _, err := d.HasBoot("prices"); errors.Is(err, ErrHangs) != tc.hangs {
				t.Errorf("%+v: HasBoot returned %v", tc, err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// An abandoned commit that ends after the commit of a later version does not replace that version.
func TestAbandonedDraftReplacesNoLaterVersion(t *testing.T) {
	root := t.TempDir()
	d := New(root)
	defer d.Close()
	draft := d.Draft("prices")
	defer draft.Drop()
	o, content := object(1)
	if _, err := draft.Object(o).Write(content); err != nil {
		t.Fatal(err)
	}
	draft.Abandon()
	mustPut(t, d, "prices", 2)
	want := files(t, root)
	if err := draft.Commit(record("prices", 1)); !errors.Is(err, errDropped) {
		t.Errorf("Commit returned %v", err)
	}
	check(t, d, "prices", 2)
	if got := files(t, root); !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}
