package publish_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A snapshot that a compaction wrote, and that is lost before a version names it, does no harm: versions go on by
// the chain that there is, and the next compaction brings it back.
func TestCompactedSnapshotIsLost(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"lost": os.Remove,
		"rotten": func(path string) error {
			b, err := os.ReadFile(path)
			for i := range b {
				b[i] ^= 1
			}
			return errors.Join(err, os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600))
		},
		"cut short": func(path string) error { return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 10)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			m := numbered(2000)
			patched(t, r, m, 33)
			compacted, err := r.Compact(t.Context(), "prices")
			if err != nil || compacted.Record.Object.Version != 34 {
				t.Fatalf("%+v: %v", compacted, err)
			}
			if err := harm(r.objectPath(compacted.Record.Object)); err != nil {
				t.Fatal(err)
			}
			m.set(50, -50)
			next, err := r.Patch(t.Context(), "prices", patch(m["50"]))
			if err != nil || next.Record.Snapshot.Version != 1 {
				t.Fatalf("%+v: %v", next, err)
			}
			if diff := cmp.Diff(map[string]string(m), content(t, r.store, next.Record)); diff != "" {
				t.Error(diff)
			}
			due := uint64(35)
			if name == "rotten" { // it is not seen but by who reads it, as the compaction does that is due after it
				for due = 36; due <= 34+33; due++ {
					m.set(int(100+due), -1)
					if next, err = r.Patch(t.Context(), "prices", patch(m[fmt.Sprint(100+due)])); err != nil {
						t.Fatal(err)
					}
				}
				due--
			}
			again, err := r.Compact(t.Context(), "prices")
			if err != nil || again.Record.Object.Version != due {
				t.Fatalf("%+v: %v", again, err)
			}
			m.set(51, -51)
			if next, err = r.Patch(t.Context(), "prices", patch(m["51"])); err != nil || next.Record.Snapshot != again.Record.Object {
				t.Errorf("%+v: %v", next, err)
			}
			if diff := cmp.Diff(map[string]string(m), content(t, r.store, next.Record)); diff != "" {
				t.Error(diff)
			}
			noTemp(t, r.temp)
		})
	}
}

// It is brought back also while no version has come since.
func TestCompactedSnapshotIsBroughtBack(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(2000)
	patched(t, r, m, 33)
	first, err := r.Compact(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.objectPath(first.Record.Object)); err != nil {
		t.Fatal(err)
	}
	again, err := r.Compact(t.Context(), "prices")
	if err != nil || again.Record.Object != first.Record.Object {
		t.Fatalf("%+v: %v", again, err)
	}
	m.set(50, -50)
	next, err := r.Patch(t.Context(), "prices", patch(m["50"]))
	if err != nil || next.Record.Snapshot != first.Record.Object {
		t.Fatalf("%+v: %v", next, err)
	}
	if diff := cmp.Diff(map[string]string(m), content(t, r.store, next.Record)); diff != "" {
		t.Error(diff)
	}
}
