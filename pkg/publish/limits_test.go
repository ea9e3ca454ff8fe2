package publish_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	memory "freshet.dev/pkg/table"
)

// object opens an object of the store.
func object(t *testing.T, r *rig, o dataset.Object) *snapshot.Reader {
	t.Helper()
	f, err := r.store.OpenObject(t.Context(), o.Digest, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	file, err := snapshot.NewReader(f, snapshot.Expect(o))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// load returns the table of a version: its snapshot, and the deltas after it.
func load(t *testing.T, r *rig, rec dataset.VersionRecord) *memory.Table {
	t.Helper()
	tab, err := memory.Load(t.Context(), object(t, r, rec.Snapshot), memory.Config{Version: rec.Snapshot.Version})
	for _, o := range rec.Deltas {
		if err == nil && o.Version > rec.Snapshot.Version {
			tab, _, err = memory.Apply(t.Context(), tab, object(t, r, o), memory.Config{Version: o.Version})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestPatchManyTimesTheDatasetIsLoaded patches 180 small records with 1,100 of 256 KiB. An instance loads the version by
// the delta, and by the snapshot that a compaction writes of it.
func TestPatchManyTimesTheDatasetIsLoaded(t *testing.T) {
	r := newRig(t, nil)
	var rows bytes.Buffer
	for i := range 180 {
		fmt.Fprintf(&rows, "{\"id\":\"%d\",\"v\":%d}\n", i, i)
	}
	r.text(t, "prices", rows.String())
	rows.Reset()
	pad := strings.Repeat("x", 256<<10)
	for i := range 1100 {
		fmt.Fprintf(&rows, "{\"id\":\"new-%d\",\"v\":\"%s\"}\n", i, pad)
	}
	patched, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: &rows, Key: "id"}})
	if err != nil {
		t.Fatal(err)
	}
	byDelta := load(t, r, patched.Record)
	done, err := r.Compact(t.Context(), "prices")
	if err != nil || done.Record.Object.Version != 2 {
		t.Fatalf("compacted %+v, %v", done, err)
	}
	whole := patched.Record
	whole.Snapshot, whole.Deltas = done.Record.Object, nil
	fresh := load(t, r, whole)
	if byDelta.State() != patched.Record.State || fresh.State() != patched.Record.State {
		t.Errorf("state %v by the delta, %v by the snapshot, want %v", byDelta.State(), fresh.State(), patched.Record.State)
	}
	for change := range memory.Diff(byDelta, fresh) {
		t.Fatalf("key %q: %v in the table loaded whole", change.Key, change.Op)
	}
	if fresh.Len() != 1280 {
		t.Errorf("%d records", fresh.Len())
	}
}
