package publish_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish"
	"freshet.dev/pkg/servertest"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/storeurl"
	"github.com/google/go-cmp/cmp"
)

// site is a store whose objects a test damages at rest.
type site struct {
	*rig
	file func(place string) string // of the object at a place of the store
}

func newDirSite(t *testing.T) *site {
	return &site{newRig(t, nil), func(place string) string { return place }}
}

// newS3Site makes stores on one server.
func newS3Site(t *testing.T) func(*testing.T) *site {
	server := servertest.S3(t)
	return func(t *testing.T) *site {
		t.Helper()
		s := &site{newRig(t, nil), func(place string) string { return server.Root + "/" + strings.TrimPrefix(place, "s3://") }}
		s.url = server.URL(strings.ReplaceAll(t.Name(), " ", "-"))
		s.store = must(storeurl.Open(t.Context(), s.url))
		t.Cleanup(func() { _ = s.store.Close() })
		s.Publisher = s.fresh(t, publish.Config{})
		return s
	}
}

// fresh returns a publisher that remembers nothing of what was read before.
func (s *site) fresh(t *testing.T, cfg publish.Config) *publish.Publisher {
	t.Helper()
	cfg.TempDir = s.temp
	p, err := publish.Open(cfg, publish.Deps{Store: s.store})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *site) flip(t *testing.T, o dataset.Object) {
	t.Helper()
	if err := flipBit(s.file(s.store.ObjectPlace(o.Digest))); err != nil {
		t.Fatal(err)
	}
}

// names fails unless text names one of the objects and its place.
func (s *site) names(t *testing.T, text string, objects []dataset.Object) {
	t.Helper()
	for _, o := range objects {
		if strings.Contains(text, o.Digest.String()) && strings.Contains(text, s.store.ObjectPlace(o.Digest)) {
			return
		}
	}
	t.Errorf("%q names neither a damaged object nor its place", text)
}

// whole fails unless the newest version can be loaded, holds m, and every delta that it names is whole.
func (s *site) whole(t *testing.T, m table) dataset.VersionRecord {
	t.Helper()
	rec := must(s.store.Latest(t.Context(), "prices"))
	if diff := cmp.Diff(map[string]string(m), content(t, s.store, rec)); diff != "" {
		t.Fatalf("version %s: %s", rec.ID(), diff)
	}
	return rec
}

// damages are what is damaged by one bit. Each makes a dataset with the content of m and returns what it damaged.
var damages = map[string]func(t *testing.T, s *site, m table) []dataset.Object{
	"only snapshot": func(t *testing.T, s *site, m table) []dataset.Object {
		return []dataset.Object{patched(t, s.rig, m, 0).Snapshot}
	},
	"snapshot": func(t *testing.T, s *site, m table) []dataset.Object {
		return []dataset.Object{patched(t, s.rig, m, 3).Snapshot}
	},
	"delta": func(t *testing.T, s *site, m table) []dataset.Object {
		return []dataset.Object{patched(t, s.rig, m, 3).Deltas[1]}
	},
	"both": func(t *testing.T, s *site, m table) []dataset.Object {
		rec := patched(t, s.rig, m, 3)
		return []dataset.Object{rec.Snapshot, rec.Deltas[1]}
	},
	"snapshot of a compaction": func(t *testing.T, s *site, m table) []dataset.Object {
		patched(t, s.rig, m, 3)
		return []dataset.Object{must(s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices")).Record.Object}
	},
	"snapshot of an earlier compaction": func(t *testing.T, s *site, m table) []dataset.Object {
		patched(t, s.rig, m, 3)
		made := must(s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices")).Record.Object
		rec := must(s.store.Latest(t.Context(), "prices"))
		m.set(7, -7)
		// A publisher that does not see the compaction commits another version.
		blindPublisher := must(publish.Open(publish.Config{TempDir: s.temp}, publish.Deps{Store: noSnapshots{s.store}}))
		if next := must(blindPublisher.Patch(t.Context(), "prices", patch(m["7"]))); next.Record.Snapshot != rec.Snapshot {
			t.Fatalf("%+v", next)
		}
		return []dataset.Object{made}
	},
}

// noSnapshots is a store that shows no snapshot records.
type noSnapshots struct{ store.Store }

func (noSnapshots) NewestSnapshot(context.Context, string, uint64, uint64) (dataset.SnapshotRecord, error) {
	return dataset.SnapshotRecord{}, store.ErrNotFound
}

// actions are what is done to a dataset with damaged objects. An action that fails says so with ErrLost, names the object and
// its place, and has committed nothing.
var actions = map[string]func(t *testing.T, s *site, m table) (warnings []string, err error){
	"publish of equal content": func(t *testing.T, s *site, m table) ([]string, error) {
		result, err := s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input())
		return result.Warnings, err
	},
	"publish of other content": func(t *testing.T, s *site, m table) ([]string, error) {
		m.set(5, -5)
		result, err := s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input())
		return result.Warnings, err
	},
	"publish of content that needs a snapshot": func(t *testing.T, s *site, m table) ([]string, error) {
		m.set(5, -5)
		result, err := s.fresh(t, publish.Config{MaxDeltas: 1}).Publish(t.Context(), "prices", m.input())
		return result.Warnings, err
	},
	"renewal": func(t *testing.T, s *site, m table) ([]string, error) {
		in, every := m.input(), time.Hour
		in.ExpectEvery = &every
		result, err := s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", in)
		if err == nil && (!result.Created || result.Record.ExpectEvery != every) {
			t.Errorf("the renewal made no version: %+v", result)
		}
		return result.Warnings, err
	},
	"patch": func(t *testing.T, s *site, m table) ([]string, error) {
		next := table{}
		next.set(5, -5)
		result, err := s.fresh(t, publish.Config{}).Patch(t.Context(), "prices", patch(next["5"]))
		if err == nil {
			m["5"] = next["5"]
		}
		return result.Warnings, err
	},
	"compaction": func(t *testing.T, s *site, m table) ([]string, error) {
		_, err := s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices")
		return nil, err
	},
}

// One bit of an object is flipped at rest. Whatever is done, a publish of all records leaves a newest version that can be
// loaded and on which patches and compactions go on.
func TestDamageHeals(t *testing.T) {
	for harm, damage := range damages {
		for what, act := range actions {
			t.Run(harm+"/"+what, func(t *testing.T) { testDamageHeals(t, newDirSite(t), damage, act) })
		}
	}
}

// The same in a bucket.
func TestDamageHealsInABucket(t *testing.T) {
	open := newS3Site(t)
	for _, c := range []struct{ harm, what string }{
		{"only snapshot", "publish of equal content"},
		{"both", "renewal"},
		{"delta", "patch"},
		{"snapshot of a compaction", "compaction"},
	} {
		t.Run(c.harm+"/"+c.what, func(t *testing.T) { testDamageHeals(t, open(t), damages[c.harm], actions[c.what]) })
	}
}

func testDamageHeals(t *testing.T, s *site, damage func(*testing.T, *site, table) []dataset.Object,
	act func(*testing.T, *site, table) ([]string, error),
) {
	m := numbered(2000)
	damaged := damage(t, s, m)
	for _, o := range damaged {
		s.flip(t, o)
	}
	before := must(s.store.Latest(t.Context(), "prices"))
	warnings, err := act(t, s, m)
	after := must(s.store.Latest(t.Context(), "prices"))
	switch {
	case errors.Is(err, publish.ErrLost):
		if after.Version != before.Version {
			t.Errorf("the error came with version %s: %v", after.ID(), err)
		}
		s.names(t, err.Error(), damaged)
		if !strings.Contains(err.Error(), "publish all of the dataset's records to heal it") {
			t.Errorf("no remedy is named: %v", err)
		}
	case err != nil:
		t.Fatal(err)
	case after.Version != before.Version:
		s.whole(t, m)
	}
	for _, w := range warnings {
		s.names(t, w, damaged)
	}
	// The remedy.
	result, err := s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		s.names(t, w, damaged)
	}
	rec := s.whole(t, m)
	if latest := after.Version; result.Created && latest == before.Version {
		if n := len(rec.Deltas); n == 0 || rec.Deltas[n-1].From != after.VersionID() || rec.Deltas[n-1].Bytes > 1000 {
			t.Errorf("an instance that serves version %s does not follow by a small delta: %+v", after.ID(), rec.Deltas)
		}
	}
	if again := must(s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input())); again.Created || len(again.Warnings) > 0 {
		t.Errorf("a publish after the remedy: %+v", again)
	}
	for i := range 2 {
		m.set(20+i, -20)
		if _, err := s.fresh(t, publish.Config{}).Patch(t.Context(), "prices", patch(m[fmt.Sprint(20+i)])); err != nil {
			t.Fatalf("a patch after the remedy: %v", err)
		}
		s.whole(t, m)
	}
	if done, err := s.fresh(t, publish.Config{MaxDeltas: 1}).Compact(t.Context(), "prices"); err != nil {
		t.Errorf("a compaction after the remedy: %+v: %v", done, err)
	}
	m.set(30, -30)
	m.publish(t, s.rig)
	noTemp(t, s.temp)
}

// The publisher that refused a patch takes it as soon as another process has put the object back.
func TestPatchAfterAnotherProcessHealed(t *testing.T) {
	s, m := newDirSite(t), numbered(2000)
	rec := patched(t, s.rig, m, 0)
	s.flip(t, rec.Snapshot)
	p := s.fresh(t, publish.Config{})
	m.set(1, -1)
	if _, err := p.Patch(t.Context(), "prices", patch(m["1"])); !errors.Is(err, publish.ErrLost) {
		t.Fatalf("error is %v", err)
	}
	if result := must(s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", numbered(2000).input())); result.Created || len(result.Warnings) != 1 {
		t.Fatalf("%+v", result)
	}
	if _, err := p.Patch(t.Context(), "prices", patch(m["1"])); err != nil {
		t.Fatal(err)
	}
	s.whole(t, m)
}

// A publisher that remembers blocks of an object refuses to name it once another reader has found it damaged.
func TestPatchFromMemoryNamesNoDamagedObject(t *testing.T) {
	s, m := newDirSite(t), numbered(2000)
	rec := patched(t, s.rig, m, 3) // remembers what its patches read
	s.flip(t, rec.Snapshot)
	p := must(publish.Open(publish.Config{TempDir: s.temp, MaxDeltas: 1}, publish.Deps{Store: s.store}))
	next := must(s.Patch(t.Context(), "prices", patch(`{"id":"1"}`))).Record // nothing has read the damage yet
	if _, err := p.Compact(t.Context(), "prices"); !errors.Is(err, publish.ErrLost) {
		t.Fatalf("error is %v", err)
	}
	_, err := p.Patch(t.Context(), "prices", patch(`{"id":"1","v":2}`))
	if !errors.Is(err, publish.ErrLost) {
		t.Fatalf("error is %v", err)
	}
	s.names(t, err.Error(), []dataset.Object{rec.Snapshot})
	if latest := must(s.store.Latest(t.Context(), "prices")); latest.Version != next.Version {
		t.Errorf("version %s was committed", latest.ID())
	}
}

// The same content makes the same object, so that a new version may come to name one that was damaged long ago.
func TestContentComesBack(t *testing.T) {
	s, a, b := newDirSite(t), numbered(500), table{}
	for i := range 500 {
		b.set(i, -i*7)
	}
	s.flip(t, patched(t, s.rig, a, 0).Snapshot)
	for _, m := range []table{b, a} {
		if _, err := s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", m.input()); err != nil {
			t.Fatal(err)
		}
		s.whole(t, m)
	}
}

// All renewals of one state share one delta.
func TestDamagedDeltaOfRenewals(t *testing.T) {
	s, m := newDirSite(t), numbered(500)
	patched(t, s.rig, m, 0)
	for hours := range 4 {
		in, every := m.input(), time.Duration(hours+1)*time.Hour
		in.ExpectEvery = &every
		result := must(s.fresh(t, publish.Config{}).Publish(t.Context(), "prices", in))
		if !result.Created {
			t.Fatalf("%+v", result)
		}
		rec := s.whole(t, m)
		if deltas := rec.Deltas; len(deltas) > 0 {
			s.flip(t, deltas[len(deltas)-1])
		}
	}
}

// A delta from before the snapshot makes no new version, and the next version does not name it.
func TestDamagedOldDeltaIsDropped(t *testing.T) {
	s, m := newDirSite(t), numbered(2000)
	patched(t, s.rig, m, 33)
	if _, err := s.Compact(t.Context(), "prices"); err != nil {
		t.Fatal(err)
	}
	m.set(50, -50)
	rec := must(s.Patch(t.Context(), "prices", patch(m["50"]))).Record
	s.flip(t, rec.Deltas[3])
	p := s.fresh(t, publish.Config{})
	if result := must(p.Publish(t.Context(), "prices", m.input())); result.Created || len(result.Warnings) > 0 {
		t.Errorf("%+v", result)
	}
	m.set(51, -51)
	next := must(p.Patch(t.Context(), "prices", patch(m["51"]))).Record
	if next.Deltas[0] != rec.Deltas[4] {
		t.Errorf("the version names deltas from version %d on", next.Deltas[0].Version)
	}
	s.whole(t, m)
}
