//go:build !race

// These tests handle hundreds of megabytes, which takes minutes under -race: scripts/test runs them without.

package publish_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
)

// aimedSeed is the seed of the datasets whose keys these tests choose.
const aimedSeed = 7

// aimed are two groups whose hashes have 14 leading bits in common, and keys of either.
type aimed struct{ keys, others []string }

// aim finds 100 keys of one group and 50 of the other.
var aim = sync.OnceValue(func() (a aimed) {
	const group = 0xABCDE
	key := []byte("key-000000000000")
	for i := uint64(0); len(a.keys) < 100 || len(a.others) < 50; i++ {
		for at, n := len(key)-1, i; n > 0; at, n = at-1, n>>4 {
			key[at] = "0123456789abcdef"[n&15]
		}
		switch snapshot.Group(dataset.Hash(aimedSeed, key)) {
		case group:
			a.keys = append(a.keys, string(key))
		case group ^ 1:
			a.others = append(a.others, string(key))
		}
	}
	return a
})

// longKey returns a key of n bytes that is in the group of the given one.
func longKey(n int, other string) string {
	key := bytes.Repeat([]byte("k"), n)
	group := snapshot.Group(dataset.Hash(aimedSeed, []byte(other)))
	for i := 0; ; i++ {
		copy(key, strconv.AppendInt(nil, int64(i), 36))
		if snapshot.Group(dataset.Hash(aimedSeed, key)) == group {
			return string(key)
		}
	}
}

// aimedRig is a rig whose dataset has the seed aimedSeed, and one record.
func aimedRig(t *testing.T) *rig {
	t.Helper()
	lean(t)
	r := newRig(t, nil)
	var b bytes.Buffer
	w := must(snapshot.NewWriter(&b, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: aimedSeed}))
	if err := w.Add(dataset.Record{Key: []byte("first"), Value: []byte(`{"id":"first"}`)}); err != nil {
		t.Fatal(err)
	}
	totals := must(w.Close())
	if err := r.store.PutObject(t.Context(), totals.Digest, totals.FileBytes, &b); err != nil {
		t.Fatal(err)
	}
	if err := r.store.PutVersion(t.Context(), dataset.VersionRecord{
		Dataset: "prices", Version: 1, Seed: aimedSeed, State: totals.State, PayloadBytes: totals.PayloadBytes, Created: time.Now(),
		Snapshot: dataset.Object{Version: 1, Digest: totals.Digest, Bytes: totals.FileBytes}, Changes: dataset.Changes{Added: 1},
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

// lean has the collector keep the memory of a test with large records small.
func lean(t *testing.T) {
	before := debug.SetMemoryLimit(400 << 20)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
}

// row is a record with a value of the given bytes.
type row struct {
	key   string
	bytes int
}

var padding = strings.Repeat("x", dataset.MaxValueBytes+1)

func (r row) encodedBytes() int {
	return dataset.Record{Key: []byte(r.key), Value: make([]byte, r.bytes)}.EncodedBytes()
}

// body yields the rows as NDJSON, without holding them all.
func body(rows []row) io.Reader {
	var parts []io.Reader
	for _, r := range rows {
		head := `{"id":"` + r.key + `","v":"`
		parts = append(parts, strings.NewReader(head), strings.NewReader(padding[:r.bytes-len(head)-2]), strings.NewReader("\"}\n"))
	}
	return io.MultiReader(parts...)
}

// fill returns rows of keys whose encodings have the given bytes together.
func fill(keys []string, size int) (rows []row) {
	for _, key := range keys {
		r := row{key, dataset.MaxValueBytes}
		if over := r.encodedBytes() - size; over > 0 {
			for r.bytes -= over; r.encodedBytes() < size; r.bytes++ { // a shorter length may have a shorter encoding
			}
		}
		rows = append(rows, r)
		if size -= r.encodedBytes(); size == 0 {
			return rows
		}
	}
	panic("too few keys")
}

func (r *rig) rows(t *testing.T, rows []row) (publish.Result, error) {
	return r.Publish(t.Context(), "prices", publish.Input{Body: body(rows), Key: "id", AllowShrink: true, Reason: "a test"})
}

func (r *rig) patchRows(t *testing.T, rows []row, removed ...string) (publish.PatchResult, error) {
	var removals strings.Builder
	for _, key := range removed {
		removals.WriteString(`{"id":"` + key + `","$remove":true}` + "\n")
	}
	return r.Patch(t.Context(), "prices", publish.PatchInput{
		Input: publish.Input{Body: io.MultiReader(body(rows), strings.NewReader(removals.String())), Key: "id"},
	})
}

// refused fails unless err refuses one of keys, and the newest version of the dataset is still the given one.
func refused(t *testing.T, r *rig, err error, newest uint64, cause error, keys ...string) *publish.InputError {
	t.Helper()
	var e *publish.InputError
	if !errors.As(err, &e) || !errors.Is(err, cause) {
		t.Fatalf("%.300v; want an InputError that wraps %v", err, cause)
	}
	named := false
	for _, key := range keys {
		named = named || e.Key == key
	}
	if !named || e.Dataset != "prices" || e.Hint == "" || !strings.Contains(e.Error(), e.Key[:min(len(e.Key), 60)]) {
		t.Errorf("key %.80q, %.300v", e.Key, e)
	}
	if rec := must(r.store.Latest(t.Context(), "prices")); rec.Version != newest {
		t.Errorf("version %s was committed", rec.ID())
	}
	noTemp(t, r.temp)
	return e
}

// loads fails unless an instance loads the version, with so many records, by the snapshot and the deltas of its record.
func loads(t *testing.T, r *rig, rec dataset.VersionRecord, records int) {
	t.Helper()
	if tab := load(t, r, rec); tab.State() != rec.State || tab.Len() != records {
		t.Fatalf("%d records, state %v; want %d, %v", tab.Len(), tab.State(), records, rec.State)
	}
}

func keysOf(rows []row) (keys []string) {
	for _, r := range rows {
		keys = append(keys, r.key)
	}
	return keys
}

// TestLargestGroup publishes, patches and compacts a group at its limit, and one byte above.
func TestLargestGroup(t *testing.T) {
	r, keys := aimedRig(t), aim().keys
	rows := fill(keys, dataset.MaxGroupBytes)
	last := len(rows) - 1
	rows[last].bytes++
	_, err := r.rows(t, rows)
	e := refused(t, r, err, 1, snapshot.ErrGroupSize, keysOf(rows)...)
	if e.Line < 1 || e.Line > len(rows) || rows[e.Line-1].key != e.Key {
		t.Errorf("line %d, key %q", e.Line, e.Key)
	}
	rows[last].bytes-- // as the hint advises
	result, err := r.rows(t, rows)
	if err != nil {
		t.Fatal(err)
	}
	loads(t, r, result.Record, len(rows))

	// A patch looks at what it leads to, not at what the blocks hold.
	rows[0].bytes--
	rows[last].bytes += 2
	_, err = r.patchRows(t, []row{rows[0], rows[last]})
	refused(t, r, err, 2, snapshot.ErrGroupSize, rows[0].key, rows[last].key)
	_, err = r.patchRows(t, []row{{keys[len(rows)], 100}})
	refused(t, r, err, 2, snapshot.ErrGroupSize, keys[len(rows)])
	rows[last].bytes--
	patched, err := r.patchRows(t, []row{rows[0], rows[last]})
	if err != nil {
		t.Fatal(err)
	}
	if len(patched.Record.Deltas) == 0 {
		t.Error("the patch has no delta")
	}
	loads(t, r, patched.Record, len(rows))

	// Two rows elsewhere make the group larger than a block together.
	if patched, err = r.patchRows(t, []row{{aim().others[0], 1000}, {"elsewhere", 1000}}); err != nil {
		t.Fatal(err)
	}
	// The patch is larger than the group may be.
	many := fill(keys, dataset.MaxGroupBytes)
	many[0].bytes--
	many = append(many, row{keys[len(many)], 100})
	_, err = r.patchRows(t, many)
	refused(t, r, err, 4, snapshot.ErrGroupSize, keysOf(many)...)
}

// TestLargeDelta changes more of a group than a delta holds, although both versions can be loaded.
func TestLargeDelta(t *testing.T) {
	r, keys := aimedRig(t), aim().keys
	old := []row{{longKey(1000, keys[0]), 1100}}
	if _, err := r.rows(t, old); err != nil {
		t.Fatal(err)
	}
	rows := fill(keys, dataset.MaxGroupBytes)
	_, err := r.patchRows(t, rows, old[0].key)
	e := refused(t, r, err, 2, snapshot.ErrBlockSize, append(keysOf(rows), old[0].key)...)
	for _, remedy := range []string{"publish all records", "split the patch"} {
		if !strings.Contains(e.Hint, remedy) {
			t.Errorf("hint %q", e.Hint)
		}
	}
	// In two parts.
	if _, err := r.patchRows(t, rows[:1], old[0].key); err != nil {
		t.Fatal(err)
	}
	patched, err := r.patchRows(t, rows[1:])
	if err != nil {
		t.Fatal(err)
	}
	loads(t, r, patched.Record, len(rows))
	// As all records.
	if _, err := r.rows(t, old); err != nil {
		t.Fatal(err)
	}
	result, err := r.rows(t, rows)
	if err != nil {
		t.Fatal(err)
	}
	rec := result.Record
	if len(rec.Deltas) > 0 || rec.Snapshot.Version != rec.Version || rec.Changes != (dataset.Changes{Added: uint64(len(rows)), Removed: 1}) {
		t.Errorf("deltas %v, snapshot of version %d, changes %+v", rec.Deltas, rec.Snapshot.Version, rec.Changes)
	}
	loads(t, r, rec, len(rows))
}

// TestSimilarHashes has two groups that fit into a block alone and not together, in a snapshot, a delta and a compaction.
func TestSimilarHashes(t *testing.T) {
	const size = 40 << 20
	rows := append(fill(aim().keys, size), fill(aim().others, size)...)
	r := aimedRig(t)
	patched, err := r.patchRows(t, rows)
	if err != nil {
		t.Fatal(err)
	}
	loads(t, r, patched.Record, len(rows)+1)
	done, err := r.Compact(t.Context(), "prices")
	if err != nil || done.Record.Object.Version != 2 {
		t.Fatalf("compacted %+v, %v", done, err)
	}
	whole := patched.Record
	whole.Snapshot, whole.Deltas = done.Record.Object, nil
	loads(t, r, whole, len(rows)+1)
	for i := range rows {
		rows[i].bytes--
	}
	result, err := r.rows(t, rows)
	if err != nil || result.Record.Snapshot.Version != 3 {
		t.Fatalf("%+v, %v; want a snapshot", result.Record, err)
	}
	loads(t, r, result.Record, len(rows))
}

// TestPatchesOfALargeGroup patches the same records again and again: what the deltas hold together is more than a patch
// decodes at a time, so that one of them compacts the dataset. A dry run of that one warns that it leaves out the check.
func TestPatchesOfALargeGroup(t *testing.T) {
	r := aimedRig(t)
	rows := fill(aim().keys, 60<<20)
	more := fill(aim().others, 5<<20)
	rec := must(r.patchRows(t, append(more, rows...))).Record
	for version := uint64(3); rec.Snapshot.Version <= 1; version++ {
		for i := range rows[:7] { // a batch of a lookup
			rows[i].bytes--
		}
		dry := must(r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: body(rows[:7]), Key: "id", DryRun: true}}))
		patched, err := r.patchRows(t, rows[:7])
		if err != nil {
			t.Fatal(err)
		}
		warned := len(dry.Warnings) == 1 && strings.Contains(dry.Warnings[0], "did not check whether records whose keys have hashes with the same")
		if compacts := patched.Record.Snapshot.Version > 1; warned != compacts || len(patched.Warnings) > 0 {
			t.Errorf("version %d: the dry run warns %q, the patch %q", version, dry.Warnings, patched.Warnings)
		}
		if rec = patched.Record; rec.Version != version || version > 10 {
			t.Fatalf("version %d is of the snapshot of version %d", rec.Version, rec.Snapshot.Version)
		}
	}
	loads(t, r, rec, len(rows)+len(more)+1)
	five := fill(aim().keys[len(rows):], 5<<20)
	_, err := r.patchRows(t, five)
	refused(t, r, err, rec.Version, snapshot.ErrGroupSize, keysOf(five)...)
}

// TestPatchManyTimesTheDatasetIsLoaded patches 180 small records with 1,100 of 256 KiB. An instance loads the version by
// the delta, by the snapshot that a compaction writes of it, and by the one that a publish writes of the same records.
func TestPatchManyTimesTheDatasetIsLoaded(t *testing.T) {
	lean(t)
	r := newRig(t, nil)
	var small, large []row
	for i := range 180 {
		small = append(small, row{fmt.Sprint(i), 60})
	}
	for i := range 1100 {
		large = append(large, row{fmt.Sprint("new-", i), 256 << 10})
	}
	if _, err := r.rows(t, small); err != nil {
		t.Fatal(err)
	}
	patched, err := r.patchRows(t, large)
	if err != nil {
		t.Fatal(err)
	}
	loads(t, r, patched.Record, 1280)
	done, err := r.Compact(t.Context(), "prices")
	if err != nil || done.Record.Object.Version != 2 {
		t.Fatalf("compacted %+v, %v", done, err)
	}
	whole := patched.Record
	whole.Snapshot, whole.Deltas = done.Record.Object, nil
	loads(t, r, whole, 1280)
	if _, err := r.rows(t, small); err != nil {
		t.Fatal(err)
	}
	result, err := r.rows(t, append(small, large...))
	if err != nil || result.Record.Snapshot.Version != 4 || result.Record.State != patched.Record.State {
		t.Fatalf("%+v, %v; want a snapshot of the same records", result.Record, err)
	}
	loads(t, r, result.Record, 1280)
}
