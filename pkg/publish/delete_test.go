package publish_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/verify"
	"github.com/google/go-cmp/cmp"
)

func deletePrices() publish.DeleteInput {
	return publish.DeleteInput{Dataset: "prices", Reason: "it was mistyped", By: "ann@db1"}
}

// delete deletes the dataset prices and checks the version that comes of it.
func (r *rig) delete(t *testing.T, in publish.DeleteInput) dataset.VersionRecord {
	t.Helper()
	newest := must(r.store.Latest(t.Context(), "prices"))
	got, err := r.Delete(t.Context(), in)
	if err != nil || !got.Created || len(got.Warnings) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	rec := got.Record
	if rec.Version != newest.Version+1 || rec.Previous != newest.VersionID() || rec.State != (dataset.Checksum{}) || rec.PayloadBytes != 0 ||
		!rec.Deleted || rec.Dropped != in.Drop || rec.Reason != in.Reason || rec.By != in.By || rec.ExpectEvery != 0 || len(rec.Deltas) > 0 ||
		rec.Changes != (dataset.Changes{Removed: newest.State.Records}) || rec.Seed != newest.Seed {
		t.Errorf("after version %s: %+v", newest.ID(), rec)
	}
	if stored := must(r.store.Latest(t.Context(), "prices")); stored.Ref() != rec.Ref() {
		t.Errorf("the newest is %s", stored.Ref())
	}
	if diff := cmp.Diff(map[string]string{}, content(t, r.store, rec)); diff != "" {
		t.Errorf("it has records: %s", diff)
	}
	noTemp(t, r.temp)
	return rec
}

// A deleted dataset goes on with the next number: by a publish of all records, or by a rollback. Neither names a delta from the deleted
// version, which instances do not have as a table.
func TestDelete(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(300)
	m.publish(t, r)
	m.set(7, 1)
	must(r.Patch(t.Context(), "prices", patch(m["7"])))
	deleted := r.delete(t, deletePrices())
	if deleted.Version != 3 {
		t.Errorf("it is version %d", deleted.Version)
	}

	if got, err := r.Delete(t.Context(), deletePrices()); err != nil || got.Created || got.Record.Ref() != deleted.Ref() {
		t.Errorf("deleted twice: %+v, %v", got, err)
	}
	dropping := deletePrices()
	dropping.Drop = true
	if dropped := r.delete(t, dropping); dropped.Version != 4 {
		t.Errorf("it is dropped by version %d", dropped.Version)
	}
	if got, err := r.Delete(t.Context(), deletePrices()); err != nil || got.Created || got.Record.Version != 4 {
		t.Errorf("deleted again without dropping: %+v, %v", got, err)
	}

	rec := r.rollback(t, 2, m)
	if len(rec.Deltas) > 0 || rec.Snapshot.Version != 5 || rec.Changes.Added != 300 {
		t.Errorf("the rollback is %+v", rec)
	}
	r.delete(t, deletePrices())
	m.set(8, 2)
	m.publish(t, r)
	rec = must(r.store.Latest(t.Context(), "prices"))
	if rec.Version != 7 || len(rec.Deltas) > 0 || rec.Snapshot.Version != 7 || rec.Changes.Added != 300 {
		t.Errorf("the publish is %+v", rec)
	}
	m.set(9, 3)
	must(r.Patch(t.Context(), "prices", patch(m["9"])))
	r.rollback(t, 5, content(t, r.store, must(r.store.Version(t.Context(), "prices", 5))))
}

func TestDeleteIsRefused(t *testing.T) {
	r := newRig(t, nil)
	_, err := r.Delete(t.Context(), deletePrices())
	if !errors.Is(err, publish.ErrNoVersion) || !strings.Contains(err.Error(), `delete dataset "prices": the dataset has no version`) {
		t.Errorf("without a version: %v", err)
	}
	for want, change := range map[string]func(*publish.DeleteInput){
		`dataset "prices": a delete needs a reason; say why with --reason TEXT (reason over HTTP, Reason in Go)`: func(in *publish.DeleteInput) { in.Reason = "" },
		"has a control character": func(in *publish.DeleteInput) { in.Reason = "a\nb" },
		"dataset name":            func(in *publish.DeleteInput) { in.Dataset = "Prices" },
		"request id":              func(in *publish.DeleteInput) { in.RequestID = "a b" },
	} {
		in := deletePrices()
		change(&in)
		if _, err := r.Delete(t.Context(), in); !errors.Is(err, publish.ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A delete passes the gates about fewer records and bytes, because it has a reason, and a publish after it meets them.
func TestDeleteAndGates(t *testing.T) {
	r := gated(t, &dataset.Gates{MinRecords: 100, MaxFewerBytes: new(int)})
	m := numbered(300)
	m.publish(t, r)
	in := deletePrices()
	in.DryRun = true
	r.untouched(t, func() {
		got, err := r.Delete(t.Context(), in)
		if err != nil || got.Created || !got.Preview.Creates || len(got.Preview.Refused) > 0 || len(got.Preview.Allowed) != 3 ||
			got.Preview.After != (publish.Size{}) || got.Preview.Changes.Removed != 300 {
			t.Errorf("%+v, %v; preview %+v", got, err, got.Preview)
		}
	})
	r.delete(t, deletePrices())
	if _, err := r.Publish(t.Context(), "prices", publish.Input{Body: strings.NewReader(`{"id":"1"}`), Key: "id"}); !errors.Is(err, publish.ErrGate) {
		t.Errorf("a publish of one record: %v", err)
	}
	m.publish(t, r)
}

// A deleted dataset has nothing to patch, and a rollback does not delete.
func TestDeletedVersionIsNoBase(t *testing.T) {
	r := newRig(t, nil)
	numbered(3).publish(t, r)
	r.delete(t, deletePrices())
	_, err := r.Patch(t.Context(), "prices", publish.PatchInput{Input: publish.Input{Body: strings.NewReader(`{"id":"1"}`), Key: "id"}})
	if !errors.Is(err, publish.ErrDeleted) || !strings.Contains(err.Error(), "deleted by ann@db1, because it was mistyped") {
		t.Errorf("a patch: %v", err)
	}
	numbered(3).publish(t, r)
	if _, err := r.Rollback(t.Context(), back(2)); !errors.Is(err, publish.ErrDeleted) || !strings.Contains(err.Error(), "delete it with freshet delete") {
		t.Errorf("a rollback: %v", err)
	}
}

// A delete that is repeated with its request id makes no second version, also after a publish in between.
func TestDeleteIsRepeatable(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(3)
	m.publish(t, r)
	in := deletePrices()
	in.RequestID = "delete-1"
	deleted := r.delete(t, in)
	m.publish(t, r)
	if got, err := r.Delete(t.Context(), in); err != nil || !got.Repeated || got.Record.Ref() != deleted.Ref() {
		t.Errorf("repeated: %+v, %v", got, err)
	}
	in.Drop = true
	if _, err := r.Delete(t.Context(), in); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("repeated with another request: %v", err)
	}
	back := back(1)
	back.RequestID = in.RequestID
	if _, err := r.Rollback(t.Context(), back); !errors.Is(err, publish.ErrRequestID) {
		t.Errorf("a rollback with the id of the delete: %v", err)
	}
}

// A verification finds nothing wrong with deleted versions and those around them, and a repair makes the empty snapshot again.
func TestVerifyOfADeletedVersion(t *testing.T) {
	r := newRig(t, nil)
	m := numbered(300)
	m.publish(t, r)
	r.delete(t, deletePrices())
	r.rollback(t, 1, m)
	deleted := r.delete(t, deletePrices())
	for range 2 {
		if findings, totals := verified(t, r.Publisher, false); len(findings) > 0 || totals.Versions != 4 {
			t.Errorf("%+v: %+v", totals, findings)
		}
		if err := os.Remove(r.store.ObjectPlace(deleted.Snapshot.Digest)); err != nil {
			t.Fatal(err)
		}
		findings, _ := verified(t, r.Publisher, true)
		if len(findings) != 1 || !findings[0].Repaired || findings[0].Kind != verify.KindSnapshot {
			t.Errorf("%+v", findings)
		}
	}
	if newest := must(r.store.Latest(t.Context(), "prices")); newest.Ref() != deleted.Ref() {
		t.Errorf("the repair made version %s", newest.ID())
	}
}
