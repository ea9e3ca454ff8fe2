package feed

import (
	"context"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store/storeurl"
)

// Invariant: every version that a feeder commits is a valid successor of the one before, all around the ring, and the objects that it names
// are in the store.
func TestVersionsAroundTheRing(t *testing.T) {
	ctx := t.Context()
	ring, err := NewRing(t.TempDir(), 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	st, err := storeurl.Open(ctx, "dir://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	f, err := Open(ctx, st, servertest.NATS(t).URL, "ring", ring)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	steps := []func(context.Context) error{f.Delta, f.Delta, f.Full, f.Delta, f.Full, f.Delta, f.Delta, f.Delta, f.Delta, f.Delta, f.Delta, f.Delta, f.Full}
	before, err := st.Version(ctx, "ring", 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range steps {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
		rec, err := st.Version(ctx, "ring", uint64(i+2))
		if err != nil {
			t.Fatal(err)
		}
		if rec.Previous != before.VersionID() || rec.State == before.State || rec.Version != f.Version() {
			t.Errorf("version %d does not follow the one before: %+v", rec.Version, rec)
		}
		if own, ok := rec.OwnDelta(); ok && own.From != before.VersionID() {
			t.Errorf("the delta of version %d leads from another version", rec.Version)
		}
		if len(rec.Deltas) > 3+1 {
			t.Errorf("version %d has %d deltas, the ring has a snapshot after 3", rec.Version, len(rec.Deltas))
		}
		for _, o := range append([]dataset.Object{rec.Snapshot}, rec.Deltas...) {
			if n, err := st.StatObject(ctx, o.Digest); err != nil || n != o.Bytes {
				t.Errorf("version %d names an object of %d bytes, the store has %d: %v", rec.Version, o.Bytes, n, err)
			}
		}
		before = rec
	}
	for _, bad := range [][2]int{{999, 3}, {1000, 0}, {1000, 51}} {
		if _, err := NewRing(t.TempDir(), bad[0], bad[1]); err == nil {
			t.Errorf("a ring of %d records and %d deltas is accepted", bad[0], bad[1])
		}
	}
}
