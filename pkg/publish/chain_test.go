package publish_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
)

// table is what a dataset should hold.
type table map[string]string

// numbered returns n records with values that differ enough not to be compressed away.
func numbered(n int) table {
	m := table{}
	for i := range n {
		m.put(i, int64(i)*2_654_435_761)
	}
	return m
}

func (m table) set(id, v int) { m.put(id, int64(v)) }

func (m table) put(id int, v int64) {
	m[fmt.Sprint(id)] = fmt.Sprintf(`{"id":"%d","v":"%016x%016x"}`, id, v*0x9e3779b9, v^0x5bd1e995)
}

func (m table) input() publish.Input {
	return publish.Input{Body: strings.NewReader(strings.Join(slices.Sorted(maps.Values(m)), "\n")), Key: "id"}
}

// publish publishes m as it is and checks what comes of it.
func (m table) publish(t *testing.T, r *rig) dataset.VersionRecord {
	t.Helper()
	return m.publishAs(t, r, m.input())
}

// shrink publishes m, which may have far fewer records than before.
func (m table) shrink(t *testing.T, r *rig) dataset.VersionRecord {
	t.Helper()
	in := m.input()
	in.AllowShrink, in.Reason = true, "a test"
	return m.publishAs(t, r, in)
}

func (m table) publishAs(t *testing.T, r *rig, in publish.Input) dataset.VersionRecord {
	t.Helper()
	result, err := r.Publish(t.Context(), "prices", in)
	if err != nil || !result.Created || len(result.Warnings) > 0 {
		t.Fatalf("%+v: %v", result, err)
	}
	noTemp(t, r.temp)
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, result.Record)); diff != "" {
		t.Fatalf("version %s: %s", result.Record.ID(), diff)
	}
	return result.Record
}

// versions returns what the objects lead to.
func versions(objects []dataset.Object) (versions []uint64) {
	for _, o := range objects {
		versions = append(versions, o.Version)
	}
	return versions
}

// A snapshot is written for the first version and then when more deltas follow it than are allowed. A new one does not
// cut the chain.
func TestSnapshotIsWrittenWhenDue(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 3 })
	m := numbered(2000)
	for v := uint64(1); v <= 12; v++ {
		m.set(int(v), -int(v))
		rec := m.publish(t, r)
		if want := (v-1)/4*4 + 1; rec.Snapshot.Version != want {
			t.Errorf("version %d has the snapshot of %d, want %d", v, rec.Snapshot.Version, want)
		}
		var want []uint64
		for d := uint64(2); d <= v; d++ {
			want = append(want, d)
		}
		if diff := cmp.Diff(want, versions(rec.Deltas)); diff != "" {
			t.Errorf("version %d: deltas %s", v, diff)
		}
	}
}

// A snapshot is written as soon as the deltas since the last are larger than half of it, and old deltas are let go that
// make a chain larger than the snapshot.
func TestSnapshotIsWrittenWhenDeltasAreLarge(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(2000)
	first := m.publish(t, r)
	for i := range 400 {
		m.set(i, -i)
	}
	second := m.publish(t, r)
	if second.Snapshot != first.Snapshot || len(second.Deltas) != 1 || second.Deltas[0].Bytes > first.Snapshot.Bytes/3 {
		t.Errorf("%+v", second)
	}
	for i := range 1300 {
		m.set(i, -7*i)
	}
	third := m.publish(t, r)
	if third.Snapshot.Version != 3 || len(third.Deltas) != 2 {
		t.Errorf("%+v", third)
	}
	for i := range 1500 {
		m.set(i, -9*i)
	}
	fourth := m.publish(t, r)
	if fourth.Snapshot.Version != 4 || len(fourth.Deltas) != 1 {
		t.Errorf("%+v", fourth)
	}
	// A delta that is larger than all there is now is of no use.
	for i := range 1990 {
		delete(m, fmt.Sprint(i))
	}
	fifth := m.shrink(t, r)
	if fifth.Snapshot.Version != 5 || len(fifth.Deltas) != 0 || fifth.Changes.Removed != 1990 {
		t.Errorf("%+v", fifth)
	}
}

// swung publishes m, then a change, and then m again.
func swung(t *testing.T, r *rig, m table) dataset.VersionRecord {
	t.Helper()
	m.publish(t, r)
	was := m["0"]
	m.set(0, -1)
	m.publish(t, r)
	m["0"] = was
	return m.publish(t, r)
}

// lengthen commits versions after rec, which swung returned, up to the given one: every other is m again. They are made
// of the two deltas that there are, and name them all, so that a long chain takes no longer than writing its records.
func lengthen(t *testing.T, r *rig, rec dataset.VersionRecord, to uint64) {
	t.Helper()
	for rec.Version < to {
		before := must(r.store.Version(t.Context(), rec.Dataset, rec.Version-1))
		delta := rec.Deltas[len(rec.Deltas)-2]
		rec.Version++
		delta.Version = rec.Version
		rec.Deltas = append(slices.Clone(rec.Deltas), delta)
		rec.State, rec.PayloadBytes, rec.Changes = before.State, before.PayloadBytes, before.Changes
		if err := r.store.PutVersion(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
}

// A chain names 64 deltas at most when it could do with less.
func TestChainIsBounded(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 2 })
	m := numbered(3000)
	lengthen(t, r, swung(t, r, m), 61)
	for v := 62; v < 69; v++ {
		m.set(v, -v-1)
		result, err := r.Publish(t.Context(), "prices", m.input())
		rec := result.Record
		if want := min(v-1, 64); err != nil || len(rec.Deltas) != want || rec.Snapshot.Version < 62 {
			t.Errorf("version %d has the snapshot of %d and %d deltas, want %d; %v", v, rec.Snapshot.Version, len(rec.Deltas), want, err)
		}
	}
	m.set(1, -1)
	m.publish(t, r) // checks the chain
}

// A snapshot that is not due is not even made.
func TestSnapshotIsMadeWhenDue(t *testing.T) {
	r, f := newFaulty(t)
	m := numbered(1000)
	for v := range 35 {
		var made []string
		f.putObject = func(context.Context) error {
			made, _ = filepath.Glob(filepath.Join(r.temp, "*", "snapshot"))
			return nil
		}
		m.set(v, -v-1)
		rec := m.publish(t, r)
		if due := rec.Snapshot.Version == rec.Version; due != (len(made) == 1) || due != (v%33 == 0) {
			t.Errorf("version %d: snapshot of version %d, made is %v", rec.Version, rec.Snapshot.Version, made)
		}
	}
}

// When another publisher commits first, the delta is made again from that version, and a snapshot that is due is still put into the
// store.
func TestDeltaIsMadeAnewAfterALostRace(t *testing.T) {
	for name, c := range map[string]struct {
		records, maxDeltas int
		snapshot           uint64
	}{
		"in memory": {1000, 32, 1},
		"spilled":   {70_000, 32, 1},
		"due":       {1000, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := &faulty{}
			r := newRig(t, func(cfg *publish.Config, d *publish.Deps) {
				cfg.MemoryBytes, cfg.MaxDeltas = publish.MinMemoryBytes, c.maxDeltas
				f.Store = d.Store
				d.Store = f
			})
			m := numbered(c.records)
			m.publish(t, r)
			other, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})
			if err != nil {
				t.Fatal(err)
			}
			theirs := maps.Clone(m)
			theirs.set(1, -1)
			theirs.set(500_000, 1)
			delete(theirs, "7")
			races := 0
			f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
				if races++; races == 1 {
					if _, err := other.Publish(ctx, "prices", theirs.input()); err != nil {
						t.Error(err)
					}
				}
				return f.Store.PutVersion(ctx, rec)
			}
			m.set(2, -2)
			rec := m.publish(t, r)
			if races != 2 || rec.Version != 3 || rec.Changes != (dataset.Changes{Added: 1, Changed: 2, Removed: 1}) || len(rec.Deltas) != 2 ||
				rec.Snapshot.Version != c.snapshot {
				t.Errorf("after %d commits: %+v", races, rec)
			}
		})
	}
}

// A delta of the chain that is lost does not keep the next version from healing the dataset.
func TestDeltaBeforeIsLost(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(1000)
	m.publish(t, r)
	m.set(1, -1)
	second := m.publish(t, r)
	spoil(t, r, second.Deltas[0].Digest)
	m.set(2, -2)
	result, err := r.Publish(t.Context(), "prices", m.input())
	if err != nil || len(result.Warnings) != 1 || result.Record.Snapshot.Version != 3 || len(result.Record.Deltas) != 0 {
		t.Errorf("%+v: %v", result, err)
	}
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, result.Record)); diff != "" {
		t.Error(diff)
	}
	noTemp(t, r.temp)
	m.set(3, -3)
	if rec := m.publish(t, r); rec.Snapshot.Version != 3 || len(rec.Deltas) != 1 {
		t.Errorf("%+v", rec)
	}
}
