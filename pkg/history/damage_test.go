package history_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

// chained returns a rig with versions of a snapshot and five deltas: each changes the record a, version 4 also b.
func chained(t *testing.T, maxDeltas int) *rig {
	t.Helper()
	r := newRig(t, maxDeltas)
	content := map[string]string{}
	for i := range 500 { // so that deltas are small in comparison
		content[fmt.Sprint("other-", i)] = strings.Repeat(fmt.Sprint(i*7919), 20)
	}
	content["a"], content["b"] = "1", "old"
	r.publish(t, content)
	for v := 2; v <= 6; v++ {
		content["a"] = fmt.Sprint(v)
		if v == 4 {
			content["b"] = "new"
		}
		r.patch(t, content)
	}
	return r
}

// wantLost fails unless err is an ErrLost that names the object and the version.
func wantLost(t *testing.T, err error, o dataset.Object, version uint64, place string) {
	t.Helper()
	if !errors.Is(err, history.ErrLost) {
		t.Errorf("error is %v, want ErrLost", err)
		return
	}
	for _, text := range []string{o.Digest.String(), place, fmt.Sprintf("version %d of dataset prices", version), "put back a good copy"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error is %q, which lacks %q", err, text)
		}
	}
}

// A version whose delta is lost is named with the delta, by each way to read it; versions that do not need the delta are read; and the
// remedy works.
func TestALostDelta(t *testing.T) {
	for how, damage := range map[string]func(*rig, testing.TB, dataset.Object){"missing": (*rig).lose, "damaged": (*rig).spoil} {
		t.Run(how, func(t *testing.T) {
			r := chained(t, publish.MaxMaxDeltas)
			lost, _ := r.records[3].OwnDelta() // of version 4
			good, err := os.ReadFile(r.path(lost))
			if err != nil {
				t.Fatal(err)
			}
			damage(r, t, lost)
			place := r.path(lost)
			if _, err := r.open(t, 5).Get(t.Context(), []byte("a")); true {
				wantLost(t, err, lost, 5, place)
			}
			_, _, err = records(t.Context(), r.open(t, 4), nil)
			wantLost(t, err, lost, 4, place)
			_, err = r.open(t, 4).Keys(t.Context(), nil, nil, 10)
			wantLost(t, err, lost, 4, place)
			_, err = diffText(t, r, 2, 5)
			wantLost(t, err, lost, 5, place) // both versions are tried when the deltas fail
			timeline, err := r.History(t.Context(), name, []byte("a"), 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for _, failed := range timeline.Events(t.Context()) {
				if err = failed; err == nil {
					seen++
				}
			}
			wantLost(t, err, lost, 4, place)
			if seen != 1 { // version 6; what version 5 did depends on version 4
				t.Errorf("%d events before the error", seen)
			}
			checkVersion(t, r.open(t, 3), r.contents[2])

			if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(place, good, 0o600); err != nil {
				t.Fatal(err)
			}
			r.fresh()
			checkVersion(t, r.open(t, 6), r.contents[5])
		})
	}
}

// diffText returns a diff as text.
func diffText(t *testing.T, r *rig, from, to uint64) (all []string, err error) {
	t.Helper()
	d, err := r.Diff(t.Context(), name, from, to)
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range d.Changes(t.Context(), nil) {
		if err != nil {
			return all, err
		}
		all = append(all, changeText(c))
	}
	return all, nil
}

// A delta that is lost is not needed if a compaction has written the records of the version, for reads, diffs and histories.
func TestALostDeltaThatACompactionReplaces(t *testing.T) {
	r := chained(t, 2)
	if c, err := r.Compact(t.Context(), name); err != nil || c.Record.Object.Version != 6 {
		t.Fatalf("%+v: %v", c, err)
	}
	lost, _ := r.records[5].OwnDelta()
	r.lose(t, lost)
	checkVersion(t, r.open(t, 6), r.contents[5])
	want, _ := changesOf(r.records[0].Seed, r.contents[1], r.contents[5])
	if got, err := diffText(t, r, 2, 6); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the diff is %q, want %q: %v", got, want, err)
	}
	if got := historyOf(t, r, "b", 100); len(got) != 2 || !strings.HasPrefix(got[0], "4 changed") || !strings.HasPrefix(got[1], "1 added") {
		t.Errorf("the history is %q", got)
	}
}

// A compaction's snapshot that is damaged in the middle is replaced by the chain that the record names, without a gap.
func TestADamagedCompaction(t *testing.T) {
	r := newRig(t, 1)
	content := map[string]string{}
	for i := range 30_000 {
		content[fmt.Sprintf("key-%06d", i)] = fmt.Sprintf("value %d, which is as long as that of a real row: %d", i*7919%104729, i)
	}
	r.publish(t, content)
	content["key-000000"] = "new"
	r.patch(t, content)
	content["key-000001"] = "new"
	r.patch(t, content)
	c, err := r.Compact(t.Context(), name)
	if err != nil || c.Record.Object.Version != 3 {
		t.Fatalf("%+v: %v", c, err)
	}
	r.spoil(t, c.Record.Object)
	got, order, err := records(t.Context(), r.open(t, 3), nil)
	if err != nil || !maps.Equal(got, content) || len(order) != len(content) {
		t.Errorf("%d records of %d, %d in order: %v", len(got), len(content), len(order), err)
	}
	r.fresh()
	checkSome(t, r.open(t, 3), content)
}

func checkSome(t *testing.T, v *history.Version, want map[string]string) {
	t.Helper()
	var keys [][]byte
	for key := range want {
		keys = append(keys, []byte(key))
	}
	values, err := v.Get(t.Context(), keys...)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		if string(values[i]) != want[string(key)] {
			t.Fatalf("%s is %q, want %q", key, values[i], want[string(key)])
		}
	}
}

// Objects that do not make the state of their version are refused at the end.
func TestAnotherState(t *testing.T) {
	r := chained(t, publish.MaxMaxDeltas)
	rec := r.records[0]
	rec.State.Lo++
	path := filepath.Join(r.folder, "versions", name, fmt.Sprintf("%020d.json", 1))
	text, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	got, _, err := records(t.Context(), r.open(t, 1), nil)
	if !errors.Is(err, history.ErrLost) || !errors.Is(err, snapshot.ErrCorrupt) || len(got) != len(r.contents[0]) {
		t.Errorf("%d records: %v", len(got), err)
	}
	if _, err := diffText(t, r, 1, 2); !errors.Is(err, history.ErrLost) {
		t.Errorf("the diff by deltas: %v", err)
	}
}

// The error for an unknown dataset, version or key names those that exist.
func TestNotFound(t *testing.T) {
	r := chained(t, publish.MaxMaxDeltas)
	for version, want := range map[uint64]string{7: "dataset prices has no version 7; it has the versions 1 to 6"} {
		_, err := r.Open(t.Context(), name, version)
		if !errors.Is(err, history.ErrNotFound) || err.Error() != want {
			t.Errorf("error is %v, want %q", err, want)
		}
		if _, err := r.Diff(t.Context(), name, 1, version); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("diff: error is %v", err)
		}
		if _, err := r.Size(t.Context(), name, version, 10); !errors.Is(err, history.ErrNotFound) {
			t.Errorf("size: error is %v", err)
		}
	}
	for _, version := range []uint64{0, 3} {
		_, err := r.Open(t.Context(), "prizes", version)
		missing, ok := errors.AsType[*history.NotFoundError](err)
		if !ok || missing.Newest != 0 || err.Error() != "dataset prizes has no version" {
			t.Errorf("error is %v", err)
		}
	}
	if _, err := r.History(t.Context(), "prizes", []byte("a"), 0, 10); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("history: error is %v", err)
	}
	if _, err := r.Open(t.Context(), "Prices", 0); !errors.Is(err, dataset.ErrName) {
		t.Errorf("error is %v", err)
	}
	if _, err := r.History(t.Context(), name, nil, 0, 10); !errors.Is(err, dataset.ErrRecord) {
		t.Errorf("error is %v", err)
	}
}

// A record of a version that is gone or damaged is named; the other versions are read.
func TestADamagedRecord(t *testing.T) {
	r := chained(t, publish.MaxMaxDeltas)
	path := filepath.Join(r.folder, "versions", name, fmt.Sprintf("%020d.json", 3))
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Open(t.Context(), name, 3)
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v", err)
	}
	timeline, err := r.History(t.Context(), name, []byte("a"), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, failed := range timeline.Events(t.Context()) {
		err = failed
	}
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("the history: error is %v", err)
	}
	want, _ := changesOf(r.records[0].Seed, r.contents[1], r.contents[5])
	if got, err := diffText(t, r, 2, 6); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the diff is %q, want %q: %v", got, want, err)
	}
	if s, err := r.Size(t.Context(), name, 0, 10); err != nil || len(s.Growth) != 5 {
		t.Errorf("%d versions have a size: %v", len(s.Growth), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.fresh()
	if _, err = r.Open(t.Context(), name, 3); !errors.Is(err, history.ErrNotFound) || !strings.Contains(err.Error(), "the store has no record of version 3 of dataset prices, which has the versions 1 to 6") {
		t.Errorf("error is %v", err)
	}
}
