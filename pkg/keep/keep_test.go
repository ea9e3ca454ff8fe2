package keep_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/history"
	"freshet.dev/pkg/keep"
	"freshet.dev/pkg/publish"
)

// A version is kept for each of the reasons, and is gone without one.
func TestRetention(t *testing.T) {
	r := newRig(t)
	for i := range 8 { // each has a snapshot: all records change
		r.publish(t, "prices", records(50, i))
		r.pass(t, time.Hour)
	}
	r.set(t, "prices", `{"keep_versions":2}`)
	rec, err := r.store.Version(t.Context(), "prices", 2)
	if err != nil {
		t.Fatal(err)
	}
	r.pinned["prices"] = []dataset.Ref{rec.Ref()}
	r.served = map[string][]dataset.Ref{"prices": {{Version: 4}}}
	r.collect(t)
	equal(t, "2 newest, one pinned, one served", r.readable(t, "prices"), []uint64{2, 4, 7, 8})
	r.clean(t)
	if d := r.state(t, "prices"); d.Gone.String() != "1, 3, 5 to 6" || d.Kept != 4 || len(d.Free) != 0 || !d.RetentionSet {
		t.Errorf("the state is %+v", d)
	}

	r.pinned, r.served = nil, nil
	r.set(t, "prices", `{"keep_versions":null,"keep_for":"1d"}`)
	r.collect(t)
	equal(t, "superseded less than a day ago", r.readable(t, "prices"), []uint64{2, 4, 7, 8})
	r.pass(t, 24*time.Hour)
	r.collect(t)
	equal(t, "the newest", r.readable(t, "prices"), []uint64{8})
	r.clean(t)
}

// A deleted dataset gets no further versions, so its content is kept for a time only.
func TestRetentionOfADeletedDataset(t *testing.T) {
	r := newRig(t)
	for i := range 2 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":10,"keep_for":"30d"}`)
	deleted, err := r.Delete(t.Context(), publish.DeleteInput{Dataset: "prices", Reason: "it was mistyped"})
	if err != nil {
		t.Fatal(err)
	}
	r.collect(t)
	if has, err := r.history.Restorable(t.Context(), deleted.Record); err != nil || !has {
		t.Errorf("after a day a rollback can restore it: %v, %v", has, err)
	}
	r.pass(t, 31*24*time.Hour)
	r.collect(t)
	if has, err := r.history.Restorable(t.Context(), deleted.Record); err != nil || has {
		t.Errorf("after a month a rollback can restore it: %v, %v", has, err)
	}
	if d := r.state(t, "prices"); d.Gone.String() != "1 to 2" || d.Kept != 1 || d.Retention.String() != "keep_versions=1 keep_for=30d" {
		t.Errorf("the state is %+v", d)
	}
	r.clean(t)
	r.publish(t, "prices", records(50, 3))
	equal(t, "after a publish", r.readable(t, "prices"), []uint64{4})
}

// The journal names the versions whose objects are removed, before the removal. Reading such a version, and a rollback to it, say so.
func TestGone(t *testing.T) {
	r := newRig(t)
	for i := range 4 {
		r.publish(t, "prices", records(50, i))
	}
	v, err := r.history.Open(t.Context(), "prices", 1)
	if err == nil {
		_, err = v.Get(t.Context(), []byte("1")) // its blocks are cached
	}
	if err != nil {
		t.Fatal(err)
	}
	r.set(t, "prices", `{"keep_versions":2}`)
	reports := r.collect(t)
	if len(reports) < 2 || reports[0].Marked.Objects == 0 || reports[0].Removed.Objects != 0 || reports[1].Removed != reports[0].Marked {
		t.Errorf("the first run marks, the second removes: %+v", reports)
	}
	if d := reports[1].Datasets[0]; d.GoneNow.String() != "1 to 2" {
		t.Errorf("the second run says %+v", d)
	}
	e, err := r.journal.Newest(t.Context(), "prices", dataset.EntryGC)
	if err != nil {
		t.Fatal(err)
	}
	removal, err := e.Removal()
	if err != nil || removal.Gone.String() != "1 to 2" || removal.Objects != reports[1].Removed.Objects || removal.Bytes != reports[1].Removed.Bytes ||
		e.By != "ann@host" || e.Reason != "retention: keep_versions=2" {
		t.Errorf("the journal says %+v %s, %v", removal, e.Reason, err)
	}
	// The next run changes nothing, and writes no entry.
	r.collect(t)
	if again, err := r.journal.Newest(t.Context(), "prices", dataset.EntryGC); err != nil || again.Number != e.Number {
		t.Errorf("there is another entry: %+v, %v", again, err)
	}
	if _, err := r.history.Open(t.Context(), "prices", 1); !errors.Is(err, history.ErrGone) || errors.Is(err, history.ErrLost) || !strings.Contains(err.Error(), "freshet versions prices") {
		t.Errorf("read a version that is gone: %v", err)
	}
	if _, err := r.Rollback(t.Context(), publish.RollbackInput{Dataset: "prices", To: 2, Reason: "x"}); !errors.Is(err, publish.ErrGone) {
		t.Errorf("roll back to a version that is gone: %v", err)
	}
	if result, err := r.Rollback(t.Context(), publish.RollbackInput{Dataset: "prices", To: 3, Reason: "x"}); err != nil || result.Record.Restores.Version != 3 {
		t.Errorf("roll back to a version that is kept: %+v, %v", result, err)
	}
	timeline, err := r.history.History(t.Context(), "prices", []byte("1"), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, err := range timeline.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		events++
	}
	if events != 2 || timeline.Oldest() != 4 || timeline.Next() != 0 {
		t.Errorf("the history of a record has %d events down to version %d, next %d; want those of versions 4 and 5", events, timeline.Oldest(), timeline.Next())
	}
	// The content of a version that is gone can be published again.
	r.publish(t, "prices", records(50, 0))
	r.clean(t)
}

// Without the setting nothing is removed, and a dry run says what the default would free. A dry run changes nothing.
func TestRetentionIsNotSet(t *testing.T) {
	r := newRig(t)
	for i := range 13 {
		r.publish(t, "prices", records(50, i))
	}
	before := r.objects(t)
	r.pass(t, 31*24*time.Hour)
	for range 3 {
		r.collect(t)
	}
	if after := r.objects(t); len(after) != len(before) {
		t.Errorf("%d of %d objects are left", len(after), len(before))
	}
	d := r.state(t, "prices")
	if d.RetentionSet || d.Retention != dataset.DefaultRetention || d.Free.String() != "1 to 3" || d.Frees.Objects == 0 {
		t.Errorf("the dry run says %+v", d)
	}
	r.set(t, "prices", `{"keep_versions":10,"keep_for":"30d"}`)
	if set := r.state(t, "prices"); !set.RetentionSet || set.Free.String() != "1 to 3" || set.Frees != d.Frees {
		t.Errorf("once it is set, the dry run says %+v, before %+v", set, d)
	}
	if after := r.objects(t); len(after) != len(before) {
		t.Error("a dry run removes objects")
	}
	if notes, err := r.store.Notes(t.Context(), "mark-"); err != nil || len(notes) != 0 {
		t.Errorf("a dry run marks objects: %v, %v", notes, err)
	}
	removed := 0
	for _, report := range r.collect(t) {
		removed += report.Removed.Objects
	}
	if removed != d.Frees.Objects {
		t.Errorf("%d objects are removed, the dry run said %d", removed, d.Frees.Objects)
	}
	r.clean(t)
}

// Versions that kept ones are built on stay as long as they are needed, and compactions' snapshots of kept versions too.
func TestNamedByAKeptVersion(t *testing.T) {
	r := newRig(t)
	r.publish(t, "prices", records(2000, 0))
	for i := range 3 {
		r.patch(t, "prices", i+7)
	}
	r.set(t, "prices", `{"keep_versions":1}`)
	r.collect(t)
	equal(t, "one snapshot and its deltas", r.readable(t, "prices"), []uint64{1, 2, 3, 4})
	for i := range 12 {
		r.patch(t, "prices", i+20)
		if _, err := r.Compact(t.Context(), "prices"); err != nil {
			t.Fatal(err)
		}
	}
	r.collect(t)
	list := r.readable(t, "prices")
	if len(list) == 0 || len(list) > 8 || list[len(list)-1] != 16 {
		t.Errorf("the versions %v can be read", list)
	}
	r.clean(t)
	if d := r.state(t, "prices"); uint64(d.Kept) != 16-d.Gone.Count() {
		t.Errorf("the state is %+v", d)
	}
}

// Objects that a publisher left when it died are removed in the same way, but not while they are young.
func TestLeftOvers(t *testing.T) {
	r := newRig(t)
	r.publish(t, "prices", records(50, 0))
	content := "left by a publisher that died"
	d := dataset.Digest(sha256Of(content))
	if err := r.store.PutObject(t.Context(), d, int64(len(content)), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if report := r.gc(t); report.LeftOvers != (keep.Sum{Objects: 1, Bytes: int64(len(content))}) || report.Marked.Objects != 0 {
		t.Errorf("a young object: %+v", report)
	}
	r.pass(t, 2*time.Hour)
	if report := r.gc(t); report.Marked.Objects != 1 || report.Removed.Objects != 0 {
		t.Errorf("the first run: %+v", report)
	}
	if report, err := r.collector.Run(t.Context(), keep.Request{Dataset: "prices", Grace: 2 * time.Second}); err != nil || report.Removed.Objects != 0 || report.Unneeded.Objects != 0 {
		t.Errorf("a run for one dataset: %+v, %v", report, err)
	}
	r.pass(t, 2*time.Hour)
	if report := r.gc(t); report.Removed.Objects != 1 {
		t.Errorf("the second run: %+v", report)
	}
	if _, err := r.store.StatObject(t.Context(), d); err == nil {
		t.Error("the left-over is still there")
	}
	r.clean(t)
}

// Of the objects of two datasets only those of the named one are removed, and none that both have.
func TestOneDataset(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.publish(t, "prices", records(50, i))
		r.publish(t, "cities", records(40, i))
	}
	r.set(t, "prices", `{"keep_versions":1}`)
	r.set(t, "cities", `{"keep_versions":1}`)
	for range 3 {
		r.pass(t, 2*time.Hour)
		if _, err := r.collector.Run(t.Context(), keep.Request{Dataset: "prices"}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "prices", r.readable(t, "prices"), []uint64{3})
	equal(t, "cities", r.readable(t, "cities"), []uint64{1, 2, 3})
	r.clean(t)
	if _, err := r.collector.Run(t.Context(), keep.Request{Dataset: "pricse"}); !errors.Is(err, keep.ErrUnknownDataset) || !strings.Contains(err.Error(), "prices") {
		t.Errorf("an unknown dataset: %v", err)
	}
	for _, bad := range []keep.Request{{Grace: time.Second}, {Grace: -1}, {By: "a\nb"}} {
		if _, err := r.collector.Run(t.Context(), bad); !errors.Is(err, keep.ErrRequest) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// While it is not known what instances serve, nothing is removed.
func TestServedIsUnknown(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":1}`)
	r.servedErr = errors.New("NATS is down")
	for range 3 {
		r.pass(t, 2*time.Hour)
		if report := r.gc(t); report.Removed.Objects != 0 || len(report.Waiting) != 1 || !strings.Contains(report.Waiting[0], "NATS is down") {
			t.Errorf("the report is %+v", report)
		}
	}
	equal(t, "all", r.readable(t, "prices"), []uint64{1, 2, 3})
	r.servedErr = nil
	r.collect(t)
	equal(t, "the newest", r.readable(t, "prices"), []uint64{3})
}

// A damaged record of a kept version ends the run, because what it names is unknown. One of a version that is not kept does not.
func TestDamagedRecords(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":2}`)
	damage := func(version uint64) {
		place := r.store.RecordPlace("prices", version)
		if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damage(2)
	r.collect(t)
	equal(t, "kept", r.readable(t, "prices"), []uint64{4, 5})
	damage(4)
	r.pass(t, 2*time.Hour)
	if _, err := r.collector.Run(t.Context(), keep.Request{}); err == nil || !strings.Contains(err.Error(), "freshet verify prices") {
		t.Errorf("a damaged record of a kept version: %v", err)
	}
}

// A damaged entry of the journal stops no removal, and what the entries around it call gone stays so.
func TestDamagedJournal(t *testing.T) {
	r := newRig(t)
	for i := range 4 {
		r.publish(t, "prices", records(50, i))
	}
	r.set(t, "prices", `{"keep_versions":2}`)
	r.collect(t)
	r.set(t, "prices", `{"min_records":1}`)
	number, err := r.store.NewestEntry(t.Context(), "prices")
	if err != nil {
		t.Fatal(err)
	}
	r.set(t, "prices", `{"min_records":2}`)
	place := r.store.EntryPlace("prices", number)
	if err := errors.Join(os.Remove(place), os.WriteFile(place, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r.publish(t, "prices", records(50, 4))
	r.collect(t)
	equal(t, "kept", r.readable(t, "prices"), []uint64{4, 5})
	if d := r.state(t, "prices"); d.Gone.String() != "1 to 3" {
		t.Errorf("the state is %+v", d)
	}
}
