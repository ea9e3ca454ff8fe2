package publish_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
)

// Invariant: a damaged snapshot record of a compaction is named in the log by its file, also by a publish of equal content, whichever
// part of it the damage is in. The next compaction puts another in its place.
func TestDamagedSnapshotRecord(t *testing.T) {
	for name, damage := range map[string]func(b []byte, rec dataset.SnapshotRecord) []byte{
		"no JSON": func(b []byte, _ dataset.SnapshotRecord) []byte { b[0] ^= 1; return b },
		"digest": func(b []byte, rec dataset.SnapshotRecord) []byte {
			return flipDigit(b, rec.Object.Digest.String())
		},
		"version id": func(b []byte, rec dataset.SnapshotRecord) []byte {
			return flipDigit(b, rec.VersionID.String())
		},
		"state": func(b []byte, rec dataset.SnapshotRecord) []byte {
			return flipDigit(b, strings.Split(rec.State.String(), "-")[1])
		},
	} {
		t.Run(name, func(t *testing.T) { testDamagedSnapshotRecord(t, damage) })
	}
}

// flipDigit flips a bit in the last hex digit of text in b, so that it stays a hex digit.
func flipDigit(b []byte, text string) []byte {
	i := bytes.Index(b, []byte(text)) + len(text) - 1
	if b[i] == 'a' || b[i] == 'f' {
		b[i] ^= 2
	} else {
		b[i] ^= 1
	}
	return b
}

func testDamagedSnapshotRecord(t *testing.T, damage func([]byte, dataset.SnapshotRecord) []byte) {
	var log lines
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) {
		c.MaxDeltas = 5
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	m := numbered(2000)
	rec := patched(t, r, m, 6)
	good, err := r.Compact(t.Context(), "prices")
	if err != nil || good.Record.Object.Version != rec.Version {
		t.Fatalf("%+v: %v", good, err)
	}
	path := r.store.SnapshotPlace("prices", rec.Version)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, damage(b, good.Record), 0o600)); err != nil {
		t.Fatal(err)
	}

	log.take()
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || got.Created {
		t.Errorf("equal content: %+v, %v", got, err)
	}
	text := log.take()
	for _, part := range []string{"level=WARN", "dataset=prices", path, "the next compaction puts another in its place"} {
		if !strings.Contains(text, part) {
			t.Errorf("the log does not say %q: %s", part, text)
		}
	}
	again, err := r.Compact(t.Context(), "prices")
	if err != nil || again.Record.Object != good.Record.Object {
		t.Fatalf("the compaction wrote %+v, %v; want %+v", again, err, good)
	}
	if text := log.take(); !strings.Contains(text, "put back the snapshot record") || !strings.Contains(text, path) {
		t.Errorf("the log says %s", text)
	}
	got, err := r.store.NewestSnapshot(t.Context(), "prices", 1, rec.Version)
	if err != nil || got.Object != good.Record.Object || got.VersionID != rec.VersionID() || got.State != rec.State {
		t.Errorf("the snapshot record is %+v, %v", got, err)
	}
	log.take()
	if got, err := r.Publish(t.Context(), "prices", m.input()); err != nil || got.Created || log.take() != "" {
		t.Errorf("after the repair: %+v, %v", got, err)
	}
	m.set(6, -7)
	if next, err := r.Patch(t.Context(), "prices", patch(m["6"])); err != nil || next.Record.Snapshot != good.Record.Object {
		t.Errorf("the next version names %+v, %v; want the snapshot of the compaction", next.Record.Snapshot, err)
	}
}

// Without a compaction at the version, the one at a later version makes up for the damaged record.
func TestDamagedSnapshotRecordOfAnOlderVersion(t *testing.T) {
	r := newRig(t, func(c *publish.Config, _ *publish.Deps) { c.MaxDeltas = 5 })
	m := numbered(2000)
	rec := patched(t, r, m, 6)
	if _, err := r.Compact(t.Context(), "prices"); err != nil {
		t.Fatal(err)
	}
	path := r.store.SnapshotPlace("prices", rec.Version)
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.NewestSnapshot(t.Context(), "prices", 1, rec.Version); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("the record is read with %v", err)
	}
	m.set(6, -7)
	next, err := r.Patch(t.Context(), "prices", patch(m["6"]))
	if err != nil || next.Record.Snapshot != rec.Snapshot {
		t.Fatalf("%+v: %v", next, err)
	}
	if got, err := r.Compact(t.Context(), "prices"); err != nil || got.Record.Object.Version != next.Record.Version {
		t.Errorf("%+v: %v", got, err)
	}
}
