package subscribe_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/fleet"
	"freshet.dev/pkg/snapshot"
)

// wrongDelta returns a complete and undamaged delta that claims to lead from base to result, with any content.
func (w *world) wrongDelta(base, result dataset.Checksum, changed records) dataset.Object {
	w.t.Helper()
	var file bytes.Buffer
	d, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: seed, Base: base})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range inOrder(slices.Collect(maps.Keys(changed))) {
		if err := d.Add(dataset.Record{Key: []byte(k), Value: []byte(changed[k])}); err != nil {
			w.t.Fatal(err)
		}
	}
	totals, err := d.CloseDelta(result)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put(file.Bytes(), totals)
}

// A complete delta that has another base, or leads to another state than the delta or the version record
// says, is detected by the count and the state checksum at any place in a chain. The snapshot is loaded instead.
// The Observer, the status, the log and the fleet report it, no reader sees another state, and later versions are loaded
// with deltas again.
func TestMismatchReloadsTheSnapshotAndIsReported(t *testing.T) {
	const otherState, otherBase = "the delta leads to another state than it says", "the delta starts from another version"
	for name, tc := range map[string]struct {
		at    int // in the chain
		delta func(w *world, old, new dataset.VersionRecord, content records) dataset.Object
		why   string
	}{
		"from another base": {0, func(w *world, old, new dataset.VersionRecord, _ records) dataset.Object {
			old.State.Lo++
			return w.wrongDelta(old.State, new.State, records{"key1": "wrong"})
		}, otherBase},
		"to another state than it says": {0, func(w *world, old, new dataset.VersionRecord, _ records) dataset.Object {
			return w.wrongDelta(old.State, new.State, records{"key1": "wrong"})
		}, otherState},
		"to another number of records than it says": {1, func(w *world, old, new dataset.VersionRecord, _ records) dataset.Object {
			return w.wrongDelta(old.State, new.State, records{"no such key": "wrong"})
		}, otherState},
		"to a state that the next does not start from": {0, func(w *world, _, _ dataset.VersionRecord, content records) dataset.Object {
			return w.put(buildDelta(w.t, content, withKey(content, "key1", "wrong")))
		}, otherBase},
		"to another content than the record says": {1, func(w *world, _, _ dataset.VersionRecord, content records) dataset.Object {
			return w.put(buildDelta(w.t, content, withKey(content, "key1", "wrong")))
		}, "the content is not that of the version record"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := &pipeline{w: w, name: "prices"}
			reports, err := fleet.WatchReports(t.Context(), w.nc, "", "prices")
			if err != nil {
				t.Fatal(err)
			}
			defer reports.Close()
			book := &logbook{}
			cfg := w.config("prices")
			cfg.CacheDir, cfg.Log = t.TempDir(), book.logger()
			first := p.commit(big(rand.New(rand.NewPCG(9, 9)), 2000), true, 0)
			w.announce(first)
			s, refreshes := refreshing(t, cfg)
			<-refreshes
			m := &mirror{t: t}
			if _, err := handle(s, "prices").OnSwap(m.swap); err != nil {
				t.Fatal(err)
			}
			await(t, "the first swap", func() bool { return m.at() == 1 })

			// Two deltas are applied, of which one is wrong: no reader sees the table between them.
			second := p.commit(withKey(p.content, "key2", "2"), false, 64)
			third := p.commit(withKey(p.content, "key3", "3"), true, 64)
			versions := []dataset.VersionRecord{first, second, third}
			wrong := tc.delta(w, versions[tc.at], versions[tc.at+1], p.history[tc.at])
			wrong.Version = uint64(tc.at + 2)
			third.Deltas[tc.at] = wrong
			w.announce(third)
			got := <-refreshes
			if got.Fallback == nil || !strings.Contains(got.Fallback.Error(), tc.why) || !got.Full || got.Record.Version != 3 {
				t.Errorf("the refresh was %+v", got)
			}
			// The bytes of useless deltas count.
			if least := third.Snapshot.Bytes + wrong.Bytes; got.PulledBytes < least || got.PulledBytes > least+third.Deltas[1-tc.at].Bytes {
				t.Errorf("%d bytes were pulled, want %d or those of the other delta more", got.PulledBytes, least)
			}
			if !maps.Equal(content(handle(s, "prices").Table()), p.content) {
				t.Error("version 3 is not what was published")
			}
			if d := statusOf(t, s, "prices"); d.Refreshes != (fleet.Refreshes{Full: 2, Fallbacks: 1, PulledBytes: first.Snapshot.Bytes + got.PulledBytes}) ||
				!strings.Contains(d.LastPull.Fallback, tc.why) || d.State != fleet.Fresh {
				t.Errorf("the status is %+v", d)
			}
			if !book.has("deltas did not lead to a version") {
				t.Error("the log does not tell")
			}
			for version := uint64(0); version < 3; {
				r, err := reports.Next(w.context())
				if err != nil {
					t.Fatal(err)
				}
				if version = r.Version; version == 3 && (!r.Full || !strings.Contains(r.Fallback, tc.why) || r.Error != "") {
					t.Errorf("the report is %+v", r)
				}
			}

			// The mirror gets a full load as the difference of the tables, and the next version as its delta.
			await(t, "the mirror", func() bool { return m.at() == 3 })
			w.announce(p.commit(withKey(p.content, "key4", "4"), false, 1))
			if got := <-refreshes; got.Full || got.Deltas != 1 || got.Fallback != nil {
				t.Errorf("the refresh after it was %+v", got)
			}
			await(t, "the mirror", func() bool { return m.at() == 4 })
			if m.full != 2 || m.delta != 1 || !maps.Equal(m.all, p.content) {
				t.Errorf("the mirror was told of %d full loads and %d deltas", m.full, m.delta)
			}
			// A restart takes the same path, from the cache folder.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, refreshes = refreshing(t, cfg)
			if got := <-refreshes; got.From != fleet.Cache || got.Record.Version != 4 || got.Deltas != 1 || !maps.Equal(content(handle(s, "prices").Table()), p.content) {
				t.Errorf("the restart began with %+v", got)
			}
		})
	}
}

// withKey returns content with another value for the key.
func withKey(content records, key, value string) records {
	content = maps.Clone(content)
	content[key] = value
	return content
}
