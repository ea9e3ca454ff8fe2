package publish_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

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
	lengthen(t, r, swung(t, r, m), 255)
	for v := uint64(256); v < 261; v++ {
		m.set(int(v), -int(v))
		got, err := r.Patch(t.Context(), "prices", patch(m[fmt.Sprint(v)]))
		if err != nil || !got.Created {
			t.Fatalf("%+v: %v", got, err)
		}
		rec := got.Record
		switch n := len(rec.Deltas); {
		case v <= 257 && (rec.Snapshot.Version != 1 || n != int(v)-1), v > 257 && (rec.Snapshot.Version != 257 || n != 64):
			t.Errorf("version %d has the snapshot of %d and %d deltas", v, rec.Snapshot.Version, n)
		}
		if v == 260 {
			if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
				t.Error(diff)
			}
		}
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

// Publishers that patch and compact one dataset all at once do each other no harm: every patch counts, the snapshots are
// those of their versions, and later versions name them.
func TestCompactionsRacePatches(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 2 })
	m := numbered(500)
	m.publish(t, r)
	const publishers, patches = 3, 8
	var all sync.WaitGroup
	for who := range publishers {
		p := must(publish.Open(publish.Config{TempDir: r.temp, MaxDeltas: 2}, publish.Deps{Store: r.store}))
		for n := range patches {
			m.set(who*patches+n, -1)
		}
		theirs := maps.Clone(m)
		all.Go(func() {
			for n := range patches {
				if _, err := p.Patch(t.Context(), "prices", patch(theirs[fmt.Sprint(who*patches+n)])); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range patches {
				if _, err := p.Compact(t.Context(), "prices"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	last := must(r.Compact(t.Context(), "prices")).Record.Object
	if last.Version == 0 { // somebody did it after the last patches
		last = must(r.store.NewestSnapshot(t.Context(), "prices", 1, 1+publishers*patches)).Object
	}
	rec := must(r.Patch(t.Context(), "prices", patch(`{"id":"0"}`))).Record
	if rec.Version != 2+publishers*patches || rec.Snapshot != last {
		t.Errorf("%+v, want the snapshot %+v", rec, last)
	}
	m["0"] = `{"id":"0"}`
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" {
		t.Error(diff)
	}
	for after := uint64(0); ; {
		s, err := r.store.NewestSnapshot(t.Context(), "prices", after, after+1)
		if after++; after > rec.Version {
			break
		}
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if of := must(r.store.Version(t.Context(), "prices", s.Object.Version)); err != nil || of.State != s.State {
			t.Errorf("snapshot %s is of %v, the version of %v: %v", s.ID(), s.State, of.State, err)
		} else {
			of.Snapshot, of.Deltas = s.Object, nil
			content(t, r.store, of) // compares with the state
		}
	}
	noTemp(t, r.temp)
}

// A patch at the end of the longest chain waits for the compaction that is under way, and does not do it over again.
func TestPatchWaitsForCompaction(t *testing.T) {
	r, f := newFaulty(t)
	m := numbered(5000)
	rec := patched(t, r, m, 256)
	begun, released := make(chan struct{}), make(chan struct{})
	puts := 0
	f.putObject = func(context.Context) error {
		if puts++; puts == 1 {
			close(begun)
			<-released
		}
		return nil
	}
	compacted := make(chan error, 1)
	go func() {
		got, err := r.Compact(t.Context(), "prices")
		if err == nil && got.Record.Object.Version != rec.Version {
			err = fmt.Errorf("%+v", got)
		}
		compacted <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	in := patch(`{"id":"new"}`)
	in.Progress = func(p publish.Progress) {
		if p.Phase == publish.PhaseStoring {
			cancel()
		}
	}
	if _, err := r.Patch(ctx, "prices", in); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	in = patch(`{"id":"new"}`)
	in.Progress = func(p publish.Progress) {
		if p.Phase == publish.PhaseStoring {
			close(released)
		}
	}
	got, err := r.Patch(t.Context(), "prices", in)
	if err != nil || got.Record.Snapshot.Version != rec.Version || puts != 2 {
		t.Errorf("after %d puts: %+v: %v", puts, got, err)
	}
	if err := <-compacted; err != nil {
		t.Error(err)
	}
	noTemp(t, r.temp)
}

// A snapshot record that does not fit its version is left alone: the version is read from the chain that it names.
func TestWrongSnapshotRecord(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(2000)
	rec := patched(t, r, m, 2)
	wrong := dataset.SnapshotRecord{Dataset: "prices", Object: rec.Snapshot, State: dataset.Checksum{Records: 1}, Created: rec.Created}
	wrong.Object.Version = rec.Version
	if err := r.store.PutSnapshot(t.Context(), wrong); err != nil {
		t.Fatal(err)
	}
	m.set(1, -100)
	got, err := r.Patch(t.Context(), "prices", patch(m["1"]))
	if err != nil || got.Record.Snapshot.Version != 1 {
		t.Errorf("%+v: %v", got, err)
	}
	m.set(2, -100)
	m.publish(t, r)
}

// A dataset whose chain is broken can be neither patched nor compacted; the errors say what heals it, and it does.
func TestLostObjectStopsPatches(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(2000)
	rec := patched(t, r, m, 33)
	if err := os.Remove(r.objectPath(rec.Deltas[3])); err != nil {
		t.Fatal(err)
	}
	other := must(publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})) // which remembers nothing
	_, err := other.Patch(t.Context(), "prices", patch(`{"id":"new"}`))
	if !errors.Is(err, publish.ErrLost) || !strings.Contains(err.Error(), rec.Deltas[3].Digest.String()) || !strings.Contains(err.Error(), "publish all") {
		t.Errorf("error is %v", err)
	}
	if _, err = r.Compact(t.Context(), "prices"); !errors.Is(err, publish.ErrLost) {
		t.Errorf("error is %v", err)
	}
	m.set(5, -100)
	if _, err := r.Publish(t.Context(), "prices", m.input()); err != nil {
		t.Error(err)
	}
	if got, err := other.Patch(t.Context(), "prices", patch(`{"id":"new"}`)); err != nil || !got.Created {
		t.Errorf("%+v: %v", got, err)
	}
	noTemp(t, r.temp)
}
