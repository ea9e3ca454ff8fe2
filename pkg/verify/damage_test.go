package verify_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/verify"
	"github.com/google/go-cmp/cmp"
)

// wanted is what a test wants of a finding.
type wanted struct {
	kind           verify.Kind
	version        uint64
	lost, readable []verify.Range
	texts          []string // in the problem, the effect or the remedy
}

// damages are kinds of damage of the dataset that site.fill makes, each with the findings that it must make.
var damages = map[string]struct {
	do   func(t *testing.T, s *site)
	want []wanted
}{
	"bit in the first snapshot": {
		func(t *testing.T, s *site) { s.flip(t, s.store.ObjectPlace(s.record(t, 1).Snapshot.Digest)) },
		[]wanted{{verify.KindSnapshot, 1, []verify.Range{{1, 4}}, []verify.Range{{4, 4}}, []string{
			"the snapshot of version 1 is lost", "damaged in the store", "versions 1 to 4 cannot be loaded",
			"the publisher can read version 4 from the snapshot of version 4", "the newest version, 5, loads", "--repair", "backup",
		}}},
	},
	"bit in a delta": {
		func(t *testing.T, s *site) { s.flip(t, s.store.ObjectPlace(s.delta(t, 3).Digest)) },
		[]wanted{{verify.KindDelta, 3, []verify.Range{{3, 4}}, []verify.Range{{4, 4}}, []string{
			"the delta of version 3 is lost", "versions 3 to 4 cannot be loaded", "the newest version, 5, loads",
		}}},
	},
	"deleted delta of the newest version": {
		func(t *testing.T, s *site) { s.remove(t, s.store.ObjectPlace(s.delta(t, 5).Digest)) },
		[]wanted{{verify.KindDelta, 5, []verify.Range{{5, 5}}, nil, []string{
			"not in the store", "version 5 cannot be loaded; no instance that starts can load the newest version, 5; instances serve what they have",
			"publish all records of prices again",
		}}},
	},
	"snapshot of the compaction cut short": {
		func(t *testing.T, s *site) {
			s.overwrite(t, s.store.ObjectPlace(s.compacted(t).Object.Digest), func(b []byte) []byte { return b[:10] })
		},
		[]wanted{{verify.KindSnapshot, 4, []verify.Range{{5, 5}}, []verify.Range{{5, 5}}, []string{
			"it has 10 bytes", "version 5 cannot be loaded, which the publisher can read from the snapshot of version 1",
			"instances that serve version 1 or later refresh by deltas",
		}}},
	},
	"all snapshots": {
		func(t *testing.T, s *site) {
			s.remove(t, s.store.ObjectPlace(s.compacted(t).Object.Digest))
			s.remove(t, s.store.ObjectPlace(s.record(t, 1).Snapshot.Digest))
		},
		[]wanted{
			{verify.KindSnapshot, 1, []verify.Range{{1, 4}}, nil, []string{"versions 1 to 4 cannot be loaded; another finding concerns the newest version, 5"}},
			{verify.KindSnapshot, 4, []verify.Range{{5, 5}}, nil, []string{"version 5 cannot be loaded; no instance that starts"}},
		},
	},
	"damaged record": {
		func(t *testing.T, s *site) {
			s.overwrite(t, s.store.RecordPlace("prices", 3), func([]byte) []byte { return []byte("{}") })
		},
		[]wanted{{verify.KindRecord, 3, []verify.Range{{3, 3}}, nil, []string{"the record of version 3 is damaged", "version 3 cannot be read", "put back a good copy of"}}},
	},
	"bit in a record": {
		func(t *testing.T, s *site) { s.flip(t, s.store.RecordPlace("prices", 1)) },
		[]wanted{{verify.KindRecord, 1, []verify.Range{{1, 1}}, nil, []string{"the record of version 1 is damaged"}}},
	},
	"record of another version": {
		func(t *testing.T, s *site) {
			other := must(s.record(t, 2).Encode())
			s.overwrite(t, s.store.RecordPlace("prices", 3), func([]byte) []byte { return other })
		},
		[]wanted{{verify.KindRecord, 3, []verify.Range{{3, 3}}, nil, []string{"it is the record of prices/2"}}},
	},
	"missing record": {
		func(t *testing.T, s *site) { s.remove(t, s.store.RecordPlace("prices", 3)) },
		[]wanted{{verify.KindRecord, 3, []verify.Range{{3, 3}}, nil, []string{"the record of version 3 is missing, although version 5 exists"}}},
	},
	"damaged newest record": {
		func(t *testing.T, s *site) {
			s.overwrite(t, s.store.RecordPlace("prices", 5), func([]byte) []byte { return nil })
		},
		[]wanted{{verify.KindRecord, 5, []verify.Range{{5, 5}}, nil, []string{"nothing can be published"}}},
	},
	"record of another store": {
		func(t *testing.T, s *site) {
			other := s.record(t, 3)
			other.StoreID = dataset.StoreID{1}
			s.overwrite(t, s.store.RecordPlace("prices", 3), func([]byte) []byte { return must(other.Encode()) })
		},
		[]wanted{
			{verify.KindStoreID, 3, []verify.Range{{3, 3}}, nil, []string{"the records of version 3 name the store 01000000", "these records belong to another store"}},
			{verify.KindLink, 4, nil, nil, []string{"version 4 follows a version 3 with the id", "00000000000000000003.json", "00000000000000000004.json"}},
		},
	},
	"newest record of another store": {
		func(t *testing.T, s *site) {
			other := s.record(t, 5)
			other.StoreID = dataset.StoreID{1}
			s.overwrite(t, s.store.RecordPlace("prices", 5), func([]byte) []byte { return must(other.Encode()) })
		},
		[]wanted{{verify.KindStoreID, 5, []verify.Range{{5, 5}}, nil, []string{"the dataset is not published", "publish all of its records again"}}},
	},
	"bit in the store id": {
		func(t *testing.T, s *site) { s.flip(t, s.store.IDPlace()) },
		[]wanted{{verify.KindStoreID, 0, nil, nil, []string{"damaged in the store", "nothing can be published"}}},
	},
	"missing store id": {
		func(t *testing.T, s *site) { s.remove(t, s.store.IDPlace()) },
		[]wanted{{verify.KindStoreID, 0, nil, nil, []string{"the store id is missing"}}},
	},
	"damaged snapshot record": {
		func(t *testing.T, s *site) {
			s.overwrite(t, s.store.SnapshotPlace("prices", 4), func([]byte) []byte { return []byte("{}") })
		},
		[]wanted{{verify.KindSnapshotRecord, 4, nil, nil, []string{"no version needs it", "the newest version, 5, loads", "--repair"}}},
	},
	"snapshot record of other records": {
		func(t *testing.T, s *site) {
			other := s.compacted(t)
			other.State.Records++
			if err := s.store.RepairSnapshot(t.Context(), other); err != nil {
				t.Fatal(err)
			}
		},
		[]wanted{{verify.KindSnapshotRecord, 4, nil, nil, []string{"it is of state 2001-"}}},
	},
	"version that lies about its payload": {
		func(t *testing.T, s *site) {
			s.commit(t, func(rec *dataset.VersionRecord) {
				rec.PayloadBytes++
				rec.Snapshot.Version, rec.Deltas = rec.Version, nil
				rec.Snapshot.Digest, rec.Snapshot.Bytes = s.compacted(t).Object.Digest, s.compacted(t).Object.Bytes
				rec.State = s.record(t, 4).State
			})
		},
		[]wanted{{verify.KindState, 6, []verify.Range{{6, 6}}, nil, []string{"the objects of version 6 make the state", "no instance that starts can load the newest version, 6", "publish all records"}}},
	},
	"version whose delta is another's": {
		func(t *testing.T, s *site) {
			s.commit(t, func(rec *dataset.VersionRecord) {
				other := s.delta(t, 5)
				other.Version, other.From = 6, s.record(t, 5).VersionID()
				rec.Deltas = append(rec.Deltas, other)
			})
		},
		[]wanted{{verify.KindState, 6, nil, nil, []string{"the delta of version 6 applies to the state", "and version 5 has the state"}}},
	},
	"version whose delta applies to another version": {
		func(t *testing.T, s *site) {
			s.commit(t, func(rec *dataset.VersionRecord) {
				other := s.delta(t, 5)
				other.Version, other.From = 6, s.record(t, 3).VersionID()
				rec.Deltas = append(rec.Deltas, other)
			})
		},
		[]wanted{
			{verify.KindState, 6, nil, nil, []string{"the delta of version 6 applies to the state"}},
			{verify.KindLink, 6, nil, nil, []string{"the delta of version 6 applies to the id"}},
		},
	},
	"snapshot that is no file of the format": {
		func(t *testing.T, s *site) {
			text := "not a snapshot"
			o := dataset.Object{Version: 6, Digest: digestOf(text), Bytes: int64(len(text))}
			if err := s.store.PutObject(t.Context(), o.Digest, o.Bytes, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			s.commit(t, func(rec *dataset.VersionRecord) { rec.Snapshot, rec.Deltas = o, nil })
		},
		[]wanted{{verify.KindState, 6, []verify.Range{{6, 6}}, nil, []string{"has the right digest and cannot be used"}}},
	},
}

// commit commits version 6, a copy of version 5 that change changes.
func (s *site) commit(t *testing.T, change func(rec *dataset.VersionRecord)) {
	t.Helper()
	rec := s.record(t, 5)
	rec.Previous, rec.Version = rec.VersionID(), 6
	change(&rec)
	if err := s.store.PutVersion(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsFound(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) { testDamageIsFound(t, newDirSite(t), damage.do, damage.want) })
	}
}

// The same in a bucket.
func TestDamageIsFoundInABucket(t *testing.T) {
	open := newS3Site(t)
	for _, name := range []string{
		"bit in the first snapshot", "deleted delta of the newest version", "snapshot of the compaction cut short", "damaged record", "missing store id",
		"damaged snapshot record",
	} {
		damage := damages[name]
		t.Run(name, func(t *testing.T) { testDamageIsFound(t, open(t), damage.do, damage.want) })
	}
}

func testDamageIsFound(t *testing.T, s *site, damage func(*testing.T, *site), want []wanted) {
	s.fill(t)
	s.clean(t)
	damage(t, s)
	findings, totals := s.verify(t, s.reopen(t), "prices")
	if len(findings) != len(want) || totals.Findings != len(want) {
		t.Fatalf("%d findings, want %d: %+v", len(findings), len(want), findings)
	}
	for i, w := range want {
		f := findings[i]
		if f.Kind != w.kind || f.Version != w.version || f.Repaired || f.Effect == "" || f.Remedy == "" || f.Place == "" {
			t.Errorf("finding is %+v, want %+v", f, w)
		}
		if diff := cmp.Diff(w.lost, f.Lost); diff != "" {
			t.Errorf("lost: %s", diff)
		}
		if diff := cmp.Diff(w.readable, f.Readable); diff != "" {
			t.Errorf("readable: %s", diff)
		}
		if (f.Dataset == "prices") != (w.version > 0) {
			t.Errorf("it is of dataset %q", f.Dataset)
		}
		for _, text := range w.texts {
			if !strings.Contains(f.Problem+"\n"+f.Effect+"\n"+f.Remedy, text) {
				t.Errorf("%q is not in the finding:\n%s\n%s\n%s", text, f.Problem, f.Effect, f.Remedy)
			}
		}
	}
}

// A file that was put back from a backup, the remedy of most findings, makes the store clean again.
func TestBackupIsARemedy(t *testing.T) {
	test, s := t, newDirSite(t)
	s.fill(t)
	for name, damage := range damages {
		if strings.HasPrefix(name, "version ") || strings.HasPrefix(name, "snapshot that") || name == "snapshot record of other records" {
			continue // these need no file
		}
		t.Run(name, func(t *testing.T) {
			backup := t.TempDir()
			folder := strings.TrimPrefix(s.url, "dir://")
			if err := os.CopyFS(backup, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			damage.do(t, s)
			if findings, _ := s.verify(t, s.reopen(t)); len(findings) == 0 {
				t.Error("nothing was found")
			}
			if err := errors.Join(os.RemoveAll(folder), os.CopyFS(folder, os.DirFS(backup))); err != nil {
				t.Fatal(err)
			}
			s.store = s.reopen(test) // the folder is another one now
			s.clean(t)
		})
	}
}

func TestUnknownDatasetAndBadName(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	v := must(verify.New(verify.Config{TempDir: s.temp}, verify.Deps{Store: s.store}))
	none := func(verify.Finding) error { return errors.New("found something") }
	if _, err := v.Run(t.Context(), []string{"prices", "prizes"}, none); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "prizes") {
		t.Errorf("error is %v", err)
	}
	if _, err := v.Run(t.Context(), []string{"Prices"}, none); err == nil {
		t.Error("a bad name is accepted")
	}
	if _, err := verify.New(verify.Config{}, verify.Deps{}); err == nil {
		t.Error("a Verifier without a store")
	}
	if _, err := verify.New(verify.Config{Settle: -1}, verify.Deps{Store: s.store}); err == nil {
		t.Error("a negative Settle is accepted")
	}
}

// An error of found ends the run.
func TestFoundEndsTheRun(t *testing.T) {
	s := newDirSite(t)
	s.fill(t)
	s.flip(t, s.store.ObjectPlace(s.record(t, 1).Snapshot.Digest))
	v := must(verify.New(verify.Config{TempDir: s.temp}, verify.Deps{Store: s.store}))
	enough := errors.New("enough")
	if _, err := v.Run(t.Context(), nil, func(verify.Finding) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error is %v", err)
	}
}
