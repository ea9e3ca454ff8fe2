//go:build unix

package subscribe_test

import (
	"syscall"
	"testing"
)

// An instance that slept catches up in one refresh, whatever it slept through: by the deltas that it lacks while the
// newest version record names them all, and else by the snapshot and the deltas from it.
func TestSleepersCatchUpInOneRefresh(t *testing.T) {
	w := newWorkshop(t, 5000)
	w.first()
	long := w.asleep()
	paused := w.instance(t.TempDir(), -1)
	before := paused.at(1)
	if err := paused.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	// Without a compactor, which is as long as chains get: 256 deltas from the snapshot of version 769.
	to := uint64(1025)
	if testing.Short() {
		to = 257
	}
	w.burst(to-60, pressing{})
	short := w.asleep()
	w.burst(to, pressing{})
	if n := len(w.last.Deltas); n != 256 {
		t.Errorf("the record names %d deltas", n)
	}

	t.Run("through a part of the chain", func(t *testing.T) {
		lacking := w.last.Deltas[256-60:]
		if r := w.wakes(short, to-60); r.Full || r.Deltas != 60 || r.PulledBytes != bytesOf(lacking) {
			t.Errorf("the refresh was %+v, want 60 deltas of %d bytes", r, bytesOf(lacking))
		}
	})
	t.Run("through a thousand versions", func(t *testing.T) {
		r := w.wakes(long, 1)
		// The first snapshot of all is also where the chain begins in a short test: then the deltas alone are needed.
		full := w.last.Snapshot.Version > 1
		want := bytesOf(w.last.Deltas)
		if full {
			want += w.last.Snapshot.Bytes
		}
		if r.Full != full || r.Deltas != 256 || r.PulledBytes != want {
			t.Errorf("the refresh was %+v, want %d bytes", r, want)
		}
	})
	t.Run("paused", func(t *testing.T) {
		if err := paused.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		after := paused.at(to)
		// It may see one event after the other, but they come faster than they can be followed.
		if n := after.Refreshes - before.Refreshes; n > int64(to)/10 {
			t.Errorf("%d refreshes for %d versions", n, to-1)
		}
	})
	t.Run("what the records cost", func(t *testing.T) { w.affordable(t) })
}
