package publish_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
)

// verified verifies all datasets with p, and repairs them if repair is true.
func verified(t *testing.T, p *publish.Publisher, repair bool, datasets ...string) ([]verify.Finding, verify.Totals) {
	t.Helper()
	var findings []verify.Finding
	totals, err := p.Verify(t.Context(), publish.VerifyInput{Datasets: datasets, Repair: repair, By: "ann@host", Found: func(f verify.Finding) error {
		findings = append(findings, f)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if totals.Findings != len(findings) {
		t.Errorf("totals are %+v, of %d findings", totals, len(findings))
	}
	return findings, totals
}

// repairable makes five versions with the content of m: a compaction has written a snapshot of version 4, and version 5 names it. Version 6
// has a snapshot and a delta of its own.
func repairable(t *testing.T, s *site, m table) {
	t.Helper()
	patched(t, s.rig, m, 3)
	must(s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices"))
	m.set(50, -50)
	must(s.fresh(t, publish.Config{}).Patch(t.Context(), "prices", patch(m["50"])))
	for id := range 100 {
		m.set(id, -id-1000)
	}
	rec := must(s.fresh(t, publish.Config{MaxDeltas: 1}).Publish(t.Context(), "prices", m.input())).Record
	if _, ok := rec.OwnDelta(); !ok || rec.Version != 6 || rec.Snapshot.Version != 6 {
		t.Fatalf("version %d has the snapshot of version %d and %d deltas", rec.Version, rec.Snapshot.Version, len(rec.Deltas))
	}
}

// repairs are kinds of damage that a repair puts right, without a new version.
var repairs = map[string]struct {
	kind   verify.Kind
	damage func(t *testing.T, s *site)
}{
	"snapshot of a compaction": {verify.KindSnapshot, func(t *testing.T, s *site) { s.flip(t, compacted(t, s).Object) }},
	"snapshot of a publish": {verify.KindSnapshot, func(t *testing.T, s *site) {
		s.flip(t, must(s.store.Version(t.Context(), "prices", 6)).Snapshot)
	}},
	"delta": {verify.KindDelta, func(t *testing.T, s *site) { s.flip(t, ownDelta(t, s, 4)) }},
	"delta with a snapshot of its version": {verify.KindDelta, func(t *testing.T, s *site) {
		if err := os.Remove(s.file(s.store.ObjectPlace(ownDelta(t, s, 6).Digest))); err != nil {
			t.Fatal(err)
		}
	}},
	"snapshot record": {verify.KindSnapshotRecord, func(t *testing.T, s *site) {
		path := s.file(s.store.SnapshotPlace("prices", 4))
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{}"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}},
	"store id": {verify.KindStoreID, func(t *testing.T, s *site) {
		if err := os.Remove(s.file(s.store.IDPlace())); err != nil {
			t.Fatal(err)
		}
	}},
}

func compacted(t *testing.T, s *site) dataset.SnapshotRecord {
	t.Helper()
	return must(s.store.NewestSnapshot(t.Context(), "prices", 0, 5))
}

func ownDelta(t *testing.T, s *site, version uint64) dataset.Object {
	t.Helper()
	o, ok := must(s.store.Version(t.Context(), "prices", version)).OwnDelta()
	if !ok {
		t.Fatalf("version %d has no delta", version)
	}
	return o
}

// A repair puts back what other objects make again, byte for byte; a verification after it is clean.
func TestRepairThenClean(t *testing.T) {
	for name, c := range repairs {
		t.Run(name, func(t *testing.T) { testRepairThenClean(t, newDirSite(t), c.kind, c.damage) })
	}
}

// The same in a bucket.
func TestRepairThenCleanInABucket(t *testing.T) {
	open := newS3Site(t)
	for name, c := range repairs {
		t.Run(name, func(t *testing.T) { testRepairThenClean(t, open(t), c.kind, c.damage) })
	}
}

func testRepairThenClean(t *testing.T, s *site, kind verify.Kind, damage func(*testing.T, *site)) {
	m := numbered(2000)
	repairable(t, s, m)
	damage(t, s)
	findings, totals := verified(t, s.fresh(t, publish.Config{}), false, "prices")
	if len(findings) != 1 || findings[0].Kind != kind || findings[0].Repaired || findings[0].Repair != "" || totals.Repaired != 0 {
		t.Fatalf("found %+v", findings)
	}
	findings, totals = verified(t, s.fresh(t, publish.Config{}), true)
	if len(findings) != 1 || findings[0].Kind != kind || !findings[0].Repaired || findings[0].Repair == "" || totals.Repaired != 1 {
		t.Fatalf("repaired %+v", findings)
	}
	if findings, _ = verified(t, s.fresh(t, publish.Config{}), false); len(findings) > 0 {
		t.Errorf("after the repair: %+v", findings)
	}
	if rec := s.whole(t, m); rec.Version != 6 {
		t.Errorf("the repair made version %s", rec.ID())
	}
	noTemp(t, s.temp)
}

// If the newest version cannot be loaded, and only read from a compaction's snapshot, a version of the same content takes its place.
func TestStandInForALostSnapshot(t *testing.T) {
	s, m := newDirSite(t), numbered(2000)
	rec := patched(t, s.rig, m, 3)
	must(s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices"))
	s.flip(t, rec.Snapshot)
	findings, totals := verified(t, s.fresh(t, publish.Config{}), true)
	if len(findings) != 1 || findings[0].Kind != verify.KindSnapshot || totals.Repaired != 0 ||
		!strings.Contains(findings[0].Repair, "version 5 was published in its place: it has the content of version 4, and loads") {
		t.Fatalf("found %+v", findings)
	}
	next := s.whole(t, m)
	if delta, _ := next.OwnDelta(); next.Version != 5 || next.Snapshot.Version != 4 || delta.From != rec.VersionID() || next.State != rec.State || next.Source != rec.Source {
		t.Errorf("the version is %+v", next)
	}
	if next.By != "ann@host" || next.Reason != "verify --repair: version 4 has lost objects" {
		t.Errorf("it was published by %q because of %q", next.By, next.Reason)
	}
	findings, _ = verified(t, s.fresh(t, publish.Config{}), true)
	if len(findings) != 1 || !strings.Contains(findings[0].Effect, "versions 1 to 4 cannot be loaded; the publisher can read version 4 from the snapshot of version 4; the newest version, 5, loads") {
		t.Errorf("found %+v", findings)
	}
	if latest := s.whole(t, m); latest.Version != 5 {
		t.Errorf("the second repair made version %s", latest.ID())
	}
	noTemp(t, s.temp)
}

// A caller that no version record can name is refused at the start.
func TestVerifyRefusesACaller(t *testing.T) {
	s := newDirSite(t)
	found := func(f verify.Finding) error { return fmt.Errorf("found %+v", f) }
	if _, err := s.fresh(t, publish.Config{}).Verify(t.Context(), publish.VerifyInput{By: "ann\n", Found: found}); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("error is %v", err)
	}
}

// A stand-in is not committed after another version: it would undo that one.
func TestStandInLosesARace(t *testing.T) {
	s, m := newDirSite(t), numbered(2000)
	rec := patched(t, s.rig, m, 3)
	must(s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices"))
	s.flip(t, rec.Snapshot)
	f := &faulty{Store: s.store}
	m.set(77, -77)
	f.putVersion = func(ctx context.Context, rec dataset.VersionRecord) error {
		f.putVersion = nil
		_, err := s.fresh(t, publish.Config{}).Patch(ctx, "prices", patch(m["77"]))
		return errors.Join(err, f.Store.PutVersion(ctx, rec))
	}
	p := must(publish.Open(publish.Config{TempDir: s.temp}, publish.Deps{Store: f}))
	findings, _ := verified(t, p, true)
	if len(findings) != 1 || !strings.Contains(findings[0].Repair, "another publisher has published version 5") {
		t.Errorf("found %+v", findings)
	}
	if latest := s.whole(t, m); latest.Version != 5 {
		t.Errorf("the newest version is %s", latest.ID())
	}
}

// A finding that repair cannot mend names a remedy, which works: a publish of all records.
func TestRemedyOfWhatCannotBeRepaired(t *testing.T) {
	for harm, c := range map[string]struct {
		patches int
		damaged func(rec dataset.VersionRecord) dataset.Object
		clean   bool // after the remedy
	}{
		"only snapshot": {0, func(rec dataset.VersionRecord) dataset.Object { return rec.Snapshot }, true},
		"snapshot":      {2, func(rec dataset.VersionRecord) dataset.Object { return rec.Snapshot }, false},
		"delta":         {2, func(rec dataset.VersionRecord) dataset.Object { return rec.Deltas[0] }, false},
	} {
		t.Run(harm, func(t *testing.T) {
			s, m := newDirSite(t), numbered(2000)
			rec := patched(t, s.rig, m, c.patches)
			s.flip(t, c.damaged(rec))
			findings, _ := verified(t, s.fresh(t, publish.Config{}), true)
			if len(findings) != 1 || findings[0].Repaired || !strings.HasPrefix(findings[0].Repair, "not repaired: ") ||
				!strings.Contains(findings[0].Effect, fmt.Sprintf("no instance that starts can load the newest version, %d", rec.Version)) ||
				!strings.Contains(findings[0].Remedy, "publish all records of prices again: that makes a version that loads") {
				t.Fatalf("found %+v", findings)
			}
			s.names(t, findings[0].Problem, []dataset.Object{c.damaged(rec)})
			must(s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input()))
			latest := s.whole(t, m)
			findings, _ = verified(t, s.fresh(t, publish.Config{}), true)
			switch {
			case c.clean && (len(findings) > 0 || latest.Version != rec.Version):
				t.Errorf("after the remedy: %+v in version %s", findings, latest.ID())
			case !c.clean && (len(findings) != 1 || !strings.Contains(findings[0].Effect, fmt.Sprintf("the newest version, %d, loads", latest.Version))):
				t.Errorf("after the remedy: %+v in version %s", findings, latest.ID())
			}
		})
	}
}

// An event log and a catalog that were wiped are found, and repaired.
func TestVerifyFollowers(t *testing.T) {
	w := newWorld(t)
	w.commit(t, "prices", 3)
	w.commit(t, "rules", 1)
	if findings, _ := verified(t, w.alive, false, "prices"); len(findings) != 2 || findings[0].Kind != verify.KindEventLog || findings[1].Kind != verify.KindCatalog {
		t.Errorf("found %+v", findings)
	}
	findings, totals := verified(t, w.alive, true, "prices")
	if len(findings) != 2 || totals.Repaired != 2 || findings[0].Repair != "announced versions 1 to 3 of prices" || findings[1].Repair != "indexed versions 1 to 3 of prices" {
		t.Errorf("repaired %+v", findings)
	}
	w.whole(t, "prices", 3)
	if announced := w.announced(t, "rules"); len(announced) > 0 {
		t.Errorf("rules was not verified, and %v announced", announced)
	}
	if _, totals := verified(t, w.alive, true); totals.Repaired != 2 {
		t.Errorf("totals are %+v", totals)
	}
	w.whole(t, "rules", 1)
	if findings, _ := verified(t, w.alive, false); len(findings) > 0 {
		t.Errorf("after the repair: %+v", findings)
	}
}

// A verification of a publisher at work, with its event log and catalog, is clean.
func TestVerifyAtWork(t *testing.T) {
	w := newWorld(t)
	m := numbered(300)
	must(w.alive.Publish(t.Context(), "prices", m.input()))
	var working sync.WaitGroup
	working.Go(func() {
		for n := range 30 {
			if _, err := w.alive.Patch(t.Context(), "prices", patch(fmt.Sprintf(`{"id":"%d","v":"new"}`, n))); err != nil {
				t.Error(err)
			}
		}
	})
	for range 8 {
		if findings, _ := verified(t, w.alive, true); len(findings) > 0 {
			t.Errorf("found %+v", findings)
		}
	}
	working.Wait()
	if findings, totals := verified(t, w.alive, false); len(findings) > 0 || totals.Versions != 31 {
		t.Errorf("found %+v in %+v", findings, totals)
	}
}

func TestVerifyUnknownDataset(t *testing.T) {
	r := newRig(t, nil)
	_, err := r.Verify(t.Context(), publish.VerifyInput{Datasets: []string{"prices"}})
	if !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), `"prices"`) {
		t.Errorf("error is %v", err)
	}
}
