package publish_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"github.com/google/go-cmp/cmp"
)

// objectPath returns where the object lies in the rig's folder.
func (r *rig) objectPath(o dataset.Object) string {
	digest := o.Digest.String()
	return strings.TrimPrefix(r.url, "dir://") + "/objects/" + digest[:2] + "/" + digest
}

// flipBit changes the file at path and leaves its size.
func flipBit(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600))
}

// The newest version's snapshot is put back by a publish of equal content, with no new version.
func TestPutBack(t *testing.T) {
	const text = `{"id":"a"}` + "\n" + `{"id":"b"}`
	want := map[string]string{"a": `{"id":"a"}`, "b": `{"id":"b"}`}
	for name, c := range map[string]struct {
		harm func(path string) error
		why  string
	}{
		"lost":      {os.Remove, "not in the store"},
		"cut short": {func(path string) error { return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 10)) }, "has 10 bytes in the store"},
		"one bit":   {flipBit, "damaged in the store at"},
		"found damaged and removed": {func(path string) error {
			return errors.Join(flipBit(path), os.Remove(path))
		}, "not in the store"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			first := r.text(t, "prices", text).Record
			if err := c.harm(r.objectPath(first.Snapshot)); err != nil {
				t.Fatal(err)
			}
			result := r.text(t, "prices", text)
			if result.Created || result.Record.Version != 1 || len(result.Warnings) != 1 ||
				!strings.Contains(result.Warnings[0], "put back the snapshot of version prices/1: object "+first.Snapshot.Digest.String()) ||
				!strings.Contains(result.Warnings[0], c.why) {
				t.Errorf("result is %+v", result)
			}
			if diff := cmp.Diff(want, content(t, r.store, first)); diff != "" {
				t.Error(diff)
			}
			if result := r.text(t, "prices", text); result.Created || len(result.Warnings) > 0 {
				t.Errorf("once more: %+v", result)
			}
		})
	}
}

// An object that the input cannot restore, because its bytes differ, is replaced by a version of equal content.
func TestStandIn(t *testing.T) {
	gone := dataset.Object{Version: 2, Digest: dataset.Digest{1}, Bytes: 99}
	for name, c := range map[string]struct {
		change       func(rec *dataset.VersionRecord)
		snapshotGone bool // that of version 1, too
	}{
		"snapshot of another compressor": {func(rec *dataset.VersionRecord) { rec.Snapshot = gone }, false},
		"delta":                          {func(rec *dataset.VersionRecord) { rec.Deltas = []dataset.Object{gone} }, false},
		"delta and snapshot":             {func(rec *dataset.VersionRecord) { rec.Deltas = []dataset.Object{gone} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			first := r.text(t, "prices", `{"id":"a"}`).Record
			second := first
			second.Version = 2
			c.change(&second)
			if c.snapshotGone {
				if err := os.Remove(r.objectPath(first.Snapshot)); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.store.PutVersion(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			result := r.text(t, "prices", `{"id":"a"}`)
			rec := result.Record
			if !result.Created || rec.Version != 3 || rec.Snapshot.Version != 3 || len(rec.Deltas) != 1 || rec.Deltas[0].From != second.VersionID() ||
				rec.State != first.State || rec.Changes != (dataset.Changes{}) {
				t.Errorf("result is %+v", result)
			}
			if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "version prices/2 cannot be loaded: object "+gone.Digest.String()) ||
				!strings.Contains(result.Warnings[0], "version 3 was made") {
				t.Errorf("warnings are %q", result.Warnings)
			}
			if diff := cmp.Diff(map[string]string{"a": `{"id":"a"}`}, content(t, r.store, rec)); diff != "" {
				t.Error(diff)
			}
			if result := r.text(t, "prices", `{"id":"a"}`); result.Created || len(result.Warnings) > 0 {
				t.Errorf("once more: %+v", result)
			}
		})
	}
}

// A version of equal content that another publisher commits during the publish is healed like any other.
func TestPutBackWhenContested(t *testing.T) {
	r, f := newFaulty(t)
	other, err := publish.Open(publish.Config{TempDir: r.temp}, publish.Deps{Store: r.store})
	if err != nil {
		t.Fatal(err)
	}
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		f.putVersion = nil
		theirs, err := other.Publish(ctx, "prices", input(`{"id":"a"}`))
		if err := errors.Join(err, os.Remove(r.objectPath(theirs.Record.Snapshot))); err != nil {
			t.Error(err)
		}
		return f.Store.PutVersion(ctx, rec)
	}
	result := r.text(t, "prices", `{"id":"a"}`)
	if result.Created || len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "put back") {
		t.Errorf("result is %+v", result)
	}
	if diff := cmp.Diff(map[string]string{"a": `{"id":"a"}`}, content(t, r.store, result.Record)); diff != "" {
		t.Error(diff)
	}
}

// blind is a store that cannot say what objects it has.
type blind struct {
	store.Store
	err error
}

func (b *blind) StatObject(ctx context.Context, d dataset.Digest) (int64, error) {
	if b.err != nil {
		return 0, b.err
	}
	return b.Store.StatObject(ctx, d)
}

// A store that does not answer does not make an object lost.
func TestHealFails(t *testing.T) {
	r, f := newFaulty(t)
	b := &blind{Store: f.Store}
	f.Store = b
	first := r.text(t, "prices", `{"id":"a"}`).Record
	failure := errors.New("connection reset")

	f.putObject = func(context.Context) error { return failure }
	if result := r.text(t, "prices", `{"id":"a"}`); result.Created {
		t.Errorf("result is %+v", result)
	}
	if err := os.Remove(r.objectPath(first.Snapshot)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Publish(t.Context(), "prices", input(`{"id":"a"}`))
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), "put back the snapshot of version prices/1") {
		t.Errorf("error is %v", err)
	}

	b.err = failure
	_, err = r.Publish(t.Context(), "prices", input(`{"id":"a"}`))
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), "look for the objects of version prices/1") {
		t.Errorf("error is %v", err)
	}
	if latest, err := r.store.Latest(t.Context(), "prices"); err != nil || latest.Version != 1 {
		t.Errorf("the newest version is %d: %v", latest.Version, err)
	}
	noTemp(t, r.temp)
}

// A delta from before the snapshot saves some instances the snapshot, and no more: that it is lost makes no version.
func TestOldDeltaIsLost(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(2000)
	patched(t, r, m, 33)
	if _, err := r.Compact(t.Context(), "prices"); err != nil {
		t.Fatal(err)
	}
	m.set(50, -50)
	next, err := r.Patch(t.Context(), "prices", patch(m["50"]))
	if err != nil || next.Record.Snapshot.Version != 34 || next.Record.Deltas[0].Version != 2 {
		t.Fatalf("%+v: %v", next, err)
	}
	if err := os.Remove(r.objectPath(next.Record.Deltas[0])); err != nil {
		t.Fatal(err)
	}
	again, err := r.Publish(t.Context(), "prices", m.input())
	if err != nil || again.Created || len(again.Warnings) > 0 {
		t.Errorf("%+v: %v", again, err)
	}
}
