package bootguard

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"freshet.dev/pkg/subscribe/internal/cachedir"
)

// syncHangs makes the syncs of boot.json hang until release is called.
func syncHangs(dir *cachedir.Dir) (release func()) {
	gate := make(chan struct{})
	disk := cachedir.NewDisk()
	disk.Sync = func(f *os.File) error {
		if filepath.Base(f.Name()) == "boot.json" {
			<-gate
		}
		return f.Sync()
	}
	dir.SetDisk(disk)
	return func() { close(gate) }
}

// Invariant: while the sync of a confirmation hangs, no load waits, the version is confirmed for a process that dies, and the guard stops.
// When the disk returns, Run completes the confirmation.
func TestSyncOfAConfirmationHangs(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		dir := cachedir.New(root)
		l := &life{New(dir, []string{"prices"}, after, "boot"), t, dir, nil}
		release := syncHangs(dir)
		ctx, cancel := context.WithCancel(t.Context())
		ended, failures := make(chan error, 1), make(chan error, 8)
		go func() { ended <- l.Run(ctx, func(_ string, err error) { failures <- err }) }()
		l.serves(7)
		pass(after)
		if b := dir.Boot("prices"); b.Trying != nil || !b.IsConfirmed(record(7).VersionID()) {
			t.Errorf("boot.json is %+v, want that 7 is confirmed", b)
		}
		began := time.Now()
		l.serves(8)
		if l.trying() != 8 || time.Since(began) > 0 {
			t.Errorf("after %s boot.json is %+v, want the mark of 8", time.Since(began), dir.Boot("prices"))
		}
		pass(patience)
		if err := <-failures; !errors.Is(err, errSlow) {
			t.Errorf("Run reported %v", err)
		}
		if err := l.Confirm(record(8)); !errors.Is(err, errSlow) || time.Since(began) > 2*patience {
			t.Errorf("after %s Confirm returned %v", time.Since(began), err)
		}
		if b := dir.Boot("prices"); b.Trying != nil || !b.IsConfirmed(record(8).VersionID()) {
			t.Errorf("boot.json is %+v, want that 8 is confirmed", b)
		}
		release()
		pass(2 * after)
		if _, at := l.next(); !at.IsZero() || len(failures) > 0 {
			t.Errorf("a version is confirmed at %s, and %d attempts failed", at, len(failures))
		}

		release = syncHangs(dir)
		defer release()
		l.serves(9)
		pass(after)
		began = time.Now()
		err := l.Stop()
		cancel()
		if err := errors.Join(err, <-ended, dir.Close()); err != nil || time.Since(began) > 0 {
			t.Errorf("after %s the guard stopped with %v", time.Since(began), err)
		}
		l = start(t, root, "boot")
		defer l.ends()
		l.wantBarred()
		if b := l.dir.Boot("prices"); len(b.Deaths) != 0 || !b.IsConfirmed(record(9).VersionID()) {
			t.Errorf("boot.json is %+v", b)
		}
	})
}

// A process that dies while the sync of its confirmation hangs does not count for the version.
func TestDeathWhileAConfirmationIsSynced(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		for range 3 {
			dir := cachedir.New(root)
			release := syncHangs(dir)
			defer release()
			l := &life{New(dir, []string{"prices"}, after, "boot"), t, dir, nil}
			if err := l.Begin("prices"); err != nil {
				t.Fatal(err)
			}
			l.wantBarred()
			l.serves(7)
			if err := l.Confirm(record(7)); err != nil && !errors.Is(err, errSlow) {
				t.Error(err)
			}
			dir.Close()
		}
		l := start(t, root, "boot")
		defer l.ends()
		if b := l.dir.Boot("prices"); len(b.Deaths) != 0 || b.Trying != nil {
			t.Errorf("boot.json is %+v", b)
		}
	})
}

// Invariant: a start after a death syncs nothing, so a sync that hangs delays no dataset. The death counts.
func TestStartAfterADeathDoesNotSync(t *testing.T) {
	in(t, func(t *testing.T, root string) {
		names := []string{"a", "prices"}
		for deaths := range 3 {
			dir := cachedir.New(root)
			disk := cachedir.NewDisk()
			disk.Sync = func(f *os.File) error { t.Errorf("%s is synced", f.Name()); return nil }
			dir.SetDisk(disk)
			l := &life{New(dir, names, after, "boot"), t, dir, nil}
			began := time.Now()
			for _, name := range names {
				if err := l.Begin(name); err != nil {
					t.Error(err)
				}
			}
			if deaths < maxDeaths {
				l.wantBarred()
				l.serves(7)
			} else {
				l.wantBarred(7)
			}
			boot := dir.Boot("prices")
			if got := boot.Of(record(7).VersionID()).Count; got != deaths {
				t.Errorf("%d deaths are counted, want %d", got, deaths)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("the start took %s", took)
			}
			synctest.Wait()
			dir.Close()
		}
	})
}
