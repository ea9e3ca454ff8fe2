package publish_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// patched publishes m and patches it n times.
func patched(t *testing.T, r *rig, m table, n int) dataset.VersionRecord {
	t.Helper()
	rec := m.publish(t, r)
	for i := range n {
		m.set(i%len(m), -i-1)
		got, err := r.Patch(t.Context(), "prices", patch(m[fmt.Sprint(i%len(m))]))
		if err != nil || !got.Created {
			t.Fatalf("%+v: %v", got, err)
		}
		rec = got.Record
	}
	return rec
}

// Compaction writes the snapshot of the newest version; the next versions name it and keep the chain.
func TestCompact(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 5 })
	m := numbered(2000)
	if got, err := r.Compact(t.Context(), "prices"); err != nil || got.Record.Object.Version != 0 {
		t.Errorf("%+v: %v", got, err)
	}
	patched(t, r, m, 5)
	if got, err := r.Compact(t.Context(), "prices"); err != nil || got.Record.Object.Version != 0 {
		t.Errorf("nothing was due: %+v: %v", got, err)
	}
	m.set(5, -6)
	sixth, err := r.Patch(t.Context(), "prices", patch(m["5"]))
	if err != nil || sixth.Record.Snapshot.Version != 1 || len(sixth.Record.Deltas) != 6 {
		t.Fatalf("%+v: %v", sixth, err)
	}
	got, err := r.Compact(t.Context(), "prices")
	if err != nil || got.Record.Object.Version != 7 || got.Record.State != sixth.Record.State || got.Deltas != 6 {
		t.Errorf("%+v: %v", got, err)
	}
	if again, err := r.Compact(t.Context(), "prices"); err != nil || again.Record.Object.Version != 0 {
		t.Errorf("compacted twice: %+v: %v", again, err)
	}
	noTemp(t, r.temp)
	m.set(6, -7)
	next, err := r.Patch(t.Context(), "prices", patch(m["6"]))
	if err != nil || next.Record.Snapshot != got.Record.Object || len(next.Record.Deltas) != 7 {
		t.Errorf("%+v: %v", next, err)
	}
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, next.Record)); diff != "" {
		t.Error(diff)
	}
	m.set(7, -8)
	if full := m.publish(t, r); full.Snapshot != got.Record.Object || len(full.Deltas) != 8 {
		t.Errorf("%+v", full)
	}
}

// Without a compactor a patch compacts before the chain gets too long.
func TestPatchCompactsAtLast(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(5000)
	rec := patched(t, r, m, 260)
	if rec.Snapshot.Version != 257 || len(rec.Deltas) < 4 || len(rec.Deltas) > 64 {
		t.Errorf("snapshot of %d, %d deltas", rec.Snapshot.Version, len(rec.Deltas))
	}
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
		t.Error(diff)
	}
}

// Wherever a compaction fails, nothing of it is seen, and it works the next time.
func TestCompactionFails(t *testing.T) {
	r, f := newFaulty(t)
	m := numbered(2000)
	rec := patched(t, r, m, 33)
	broken := errors.New("no space left")
	f.putObject = func(context.Context) error { return broken }
	if _, err := r.Compact(t.Context(), "prices"); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	f.putObject = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Compact(ctx, "prices"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := r.store.NewestSnapshot(t.Context(), "prices", 0, rec.Version); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
	noTemp(t, r.temp)
	if got, err := r.Compact(t.Context(), "prices"); err != nil || got.Record.Object.Version != rec.Version {
		t.Errorf("%+v: %v", got, err)
	}
}

// A Compactor compacts what was there before it, and what it is asked to look at; it goes on after a failure.
func TestCompactor(t *testing.T) {
	r, f := newFaulty(t)
	m := numbered(2000)
	patched(t, r, m, 33)
	type told struct {
		version uint64
		err     error
	}
	done := make(chan told, 10)
	c, err := publish.NewCompactor(r.Publisher, publish.CompactorConfig{
		Every: time.Hour,
		Done: func(_ string, c publish.Compaction, _ time.Duration, err error) {
			done <- told{c.Record.Object.Version, err}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	if got := <-done; got.version != 34 || got.err != nil {
		t.Errorf("%+v", got)
	}
	for i := range 33 {
		m.set(100+i, -i)
		if _, err := r.Patch(t.Context(), "prices", patch(m[fmt.Sprint(100+i)])); err != nil {
			t.Fatal(err)
		}
	}
	f.putObject = func(context.Context) error { panic("on fire") }
	c.Look("prices")
	if got := <-done; got.err == nil {
		t.Errorf("%+v", got)
	}
	f.putObject = nil
	c.Look("prices")
	c.Look("none")
	if got := <-done; got.version != 67 || got.err != nil {
		t.Errorf("%+v", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	noTemp(t, r.temp)
}
