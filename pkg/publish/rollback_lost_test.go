package publish_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/publish"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Without the deltas in between, a rollback reads all records of the version.
func TestRollbackWithoutDeltas(t *testing.T) {
	for name, harm := range map[string]func(*testing.T, *rig) (warnings bool){
		"a delta is gone": func(t *testing.T, r *rig) bool {
			if err := os.Remove(r.objectPath(must(r.store.Version(t.Context(), "prices", 3)).Deltas[1])); err != nil {
				t.Fatal(err)
			}
			return true
		},
		"a delta is damaged": func(t *testing.T, r *rig) bool {
			spoil(t, r, must(r.store.Version(t.Context(), "prices", 3)).Deltas[1].Digest)
			return true
		},
		"a version has no delta": func(t *testing.T, r *rig) bool {
			if _, err := r.Publish(t.Context(), "prices", shrinking(first(1))); err != nil {
				t.Fatal(err)
			}
			return false
		},
		"a record is damaged": func(t *testing.T, r *rig) bool {
			for v := 6; v < 80; v++ { // the newest record must not name the delta
				if _, err := r.Patch(t.Context(), "prices", patch(fmt.Sprintf(`{"id":"n","v":%d}`, v))); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.Compact(t.Context(), "prices"); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Patch(t.Context(), "prices", patch(`{"id":"n","v":80}`)); err != nil {
				t.Fatal(err)
			}
			r.damageRecord(t, "prices", 4)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, log := newLoggedRig(t, nil)
			all := history(t, r, 5, func(int) bool { return true })
			warns := harm(t, r)
			fresh := must(publish.Open(publish.Config{TempDir: r.temp, Log: slog.New(slog.NewTextHandler(log, nil))}, publish.Deps{Store: r.store}))
			got, err := fresh.Rollback(t.Context(), back(2))
			if err != nil || !got.Created || got.Record.Restores.Version != 2 || got.Record.Reason == "" || warns != (len(got.Warnings) > 0) {
				t.Fatalf("%+v, %v", got, err)
			}
			if target := must(r.store.Version(t.Context(), "prices", 2)); got.Record.State != target.State || !rebuilt(log) {
				t.Errorf("%+v; the log: %s", got.Record, log)
			}
			if len(got.Record.Deltas) > 0 { // content reads all of them
				got.Record.Deltas = got.Record.DeltasFrom(got.Record.Snapshot.Version)
			}
			if diff := cmp.Diff(map[string]string(all[2]), content(t, r.store, got.Record)); diff != "" {
				t.Error(diff)
			}
			noTemp(t, r.temp)
		})
	}
}

// A rollback undoes a version whose snapshot is lost, whether the publisher knows that already or not: it writes a snapshot.
func TestRollbackOfALostVersion(t *testing.T) {
	for name, known := range map[string]bool{"known": true, "unknown": false} {
		t.Run(name, func(t *testing.T) {
			r, log := newLoggedRig(t, func(c *publish.Config) { c.MaxDeltas = 1 })
			all := history(t, r, 5, func(int) bool { return false })
			newest := must(r.store.Latest(t.Context(), "prices"))
			if newest.Snapshot.Version != newest.Version {
				t.Fatalf("the newest version has no snapshot of its own: %+v", newest)
			}
			if err := os.Remove(r.objectPath(newest.Snapshot)); err != nil {
				t.Fatal(err)
			}
			if known {
				if _, err := r.Patch(t.Context(), "prices", patch(`{"id":"new"}`)); !errors.Is(err, publish.ErrLost) {
					t.Fatalf("error is %v", err)
				}
			}
			got, err := r.Rollback(t.Context(), back(4))
			if err != nil || !got.Created || got.Record.Snapshot.Version != 6 || !rebuilt(log) {
				t.Fatalf("%+v, %v", got, err)
			}
			got.Record.Deltas = nil
			if diff := cmp.Diff(map[string]string(all[4]), content(t, r.store, got.Record)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A version whose own objects are gone cannot be restored. The error names the object and its place, and its remedies work.
func TestRollbackToALostVersion(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 1 })
	all := history(t, r, 6, func(int) bool { return false })
	lost := must(r.store.Version(t.Context(), "prices", 1)).Snapshot
	path := r.objectPath(lost)
	bytes := must(os.ReadFile(path))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := r.Rollback(t.Context(), back(2))
	if !errors.Is(err, publish.ErrLost) {
		t.Fatalf("error is %v", err)
	}
	for _, text := range []string{`roll back dataset "prices" to version 2`, lost.Digest.String(), path, "put the object back from a backup of the store, or restore another version"} {
		if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error lacks %q, or is not one line: %v", text, err)
		}
	}
	if got := r.versions(t, "prices"); got != 6 {
		t.Errorf("there are %d versions", got)
	}
	noTemp(t, r.temp)
	r.rollback(t, 4, all[4])
	if err := os.WriteFile(path, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	r.rollback(t, 2, all[2])
}

// Whatever is published, patched, compacted and rolled back, each version holds what it should.
func TestRollbacksHoldWhatWasThere(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 4 })
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprint("d", n)
		fail := func(what string, err error) {
			if err != nil {
				rt.Fatalf("%s: %v", what, err)
			}
		}
		m := numbered(rapid.IntRange(1, 120).Draw(rt, "records"))
		_, err := r.Publish(t.Context(), name, m.input())
		fail("publish", err)
		all := []table{nil, maps.Clone(m)}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			before := maps.Clone(m)
			for range rapid.IntRange(1, 15).Draw(rt, "changes") {
				id := rapid.IntRange(0, 150).Draw(rt, "id")
				if rapid.Bool().Draw(rt, "remove") && len(m) > 1 {
					delete(m, fmt.Sprint(id))
				} else {
					m.set(id, rapid.IntRange(0, 3).Draw(rt, "v"))
				}
			}
			if len(m) == 0 {
				m.set(0, 0)
			}
			switch rapid.SampledFrom([]string{"patch", "publish", "compact", "rollback", "rollback"}).Draw(rt, "step") {
			case "patch":
				if change := undo(before, m); !maps.Equal(before, m) {
					_, err := r.Patch(t.Context(), name, change)
					fail("patch", err)
				}
			case "publish":
				_, err := r.Publish(t.Context(), name, shrinking(m.input()))
				fail("publish", err)
			case "compact":
				m = before
				_, err := r.Compact(t.Context(), name)
				fail("compact", err)
			default:
				to := rapid.IntRange(1, len(all)-1).Draw(rt, "to")
				m = maps.Clone(all[to])
				in := back(uint64(to))
				in.Dataset = name
				got, err := r.Rollback(t.Context(), in)
				fail("roll back", err)
				if got.Created == maps.Equal(m, before) {
					rt.Fatalf("to version %d: created is %v", to, got.Created)
				}
			}
			rec := must(r.store.Latest(t.Context(), name))
			if rec.Version == uint64(len(all)) {
				all = append(all, maps.Clone(m))
			}
			if diff := cmp.Diff(map[string]string(m), content(t, r.store, rec)); diff != "" || t.Failed() {
				rt.Fatalf("version %d: %s", rec.Version, diff)
			}
		}
	})
	noTemp(t, r.temp)
}

// At whichever step of a rollback the store fails: either the call fails and the dataset is as it was, or it succeeds. The same rollback
// works afterwards.
func TestStoreFailsAtEachStepOfARollback(t *testing.T) {
	for _, after := range []bool{false, true} {
		c := &cutting{after: after}
		r := newRig(t, func(_ *publish.Config, d *publish.Deps) {
			c.Store = d.Store
			d.Store = c
		})
		all := history(t, r, 4, func(v int) bool { return v%2 == 0 })
		for step := 1; ; step++ {
			newest := must(c.Store.Latest(t.Context(), "prices"))
			to := newest.Version - 1
			c.calls.Store(0)
			c.at = int64(step)
			// Another Publisher each time, which remembers nothing.
			got, err := must(publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: c})).Rollback(t.Context(), back(to))
			reached := c.calls.Load() >= c.at
			c.at = 0
			noTemp(t, r.temp)
			now := must(c.Store.Latest(t.Context(), "prices"))
			switch {
			case err != nil && (!reached || !errors.Is(err, errCut)):
				t.Fatalf("step %d: error is %v", step, err)
			case err != nil && now.Ref() != newest.Ref():
				t.Fatalf("step %d: %v, and version %s was committed", step, err, now.ID())
			case err == nil && (!got.Created || now.Ref() != got.Record.Ref()):
				t.Fatalf("step %d: %+v; the newest is %s", step, got, now.ID())
			case err == nil:
				if diff := cmp.Diff(map[string]string(all[to]), content(t, r.store, now)); diff != "" {
					t.Fatalf("step %d: %s", step, diff)
				}
				all = append(all, all[to])
			}
			if !reached {
				if step < 4 {
					t.Errorf("it took %d steps", step-1)
				}
				break
			}
		}
	}
}
