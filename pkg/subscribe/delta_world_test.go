package subscribe_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// inOrder returns the keys in the order of (hash, key).
func inOrder(keys []string) []string {
	slices.SortFunc(keys, func(a, b string) int {
		ha, hb := dataset.Hash(seed, []byte(a)), dataset.Hash(seed, []byte(b))
		switch {
		case ha < hb:
			return -1
		case ha > hb:
			return 1
		}
		return strings.Compare(a, b)
	})
	return keys
}

// buildDelta returns the delta that leads from old to new.
func buildDelta(t testing.TB, old, new records) ([]byte, snapshot.Totals) {
	t.Helper()
	_, from := build(t, old)
	_, to := build(t, new)
	both := maps.Clone(old)
	maps.Copy(both, new)
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: seed, Base: from.State})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range inOrder(slices.Collect(maps.Keys(both))) {
		was, before := old[k]
		is, after := new[k]
		if before && after && was == is {
			continue
		}
		if err := w.Add(dataset.Record{Key: []byte(k), Value: []byte(is), Removed: !after}); err != nil {
			t.Fatal(err)
		}
	}
	totals, err := w.CloseDelta(to.State)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), totals
}

// pipeline publishes versions of a dataset with deltas.
type pipeline struct {
	w       *world
	name    string
	last    dataset.VersionRecord
	content records
	history []records // by version, from 1

	restores dataset.Ref // of the next version
}

func (w *world) put(file []byte, totals snapshot.Totals) dataset.Object {
	w.t.Helper()
	if err := w.store.PutObject(w.t.Context(), totals.Digest, totals.FileBytes, bytes.NewReader(file)); err != nil {
		w.t.Fatal(err)
	}
	return dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes}
}

// commit makes content the next version, with a snapshot if wanted or the first, and with a chain of up to keep deltas.
func (p *pipeline) commit(content records, withSnapshot bool, keep int) dataset.VersionRecord {
	p.w.t.Helper()
	file, totals := build(p.w.t, content)
	rec := dataset.VersionRecord{
		Dataset: p.name, Version: p.last.Version + 1, Seed: seed, State: totals.State, PayloadBytes: totals.PayloadBytes,
		Snapshot: p.last.Snapshot, Created: time.Now().UTC(), Source: "test", Restores: p.restores,
	}
	if rec.Version > 1 {
		o := p.w.put(buildDelta(p.w.t, p.content, content))
		o.Version, o.From = rec.Version, p.last.VersionID()
		rec.Deltas = append(slices.Clone(p.last.Deltas), o)
	}
	if withSnapshot || rec.Version == 1 {
		rec.Snapshot = p.w.put(file, totals)
		rec.Snapshot.Version = rec.Version
	}
	// A record never keeps fewer deltas than its snapshot needs.
	if least := int(rec.Version - rec.Snapshot.Version); len(rec.Deltas) > max(keep, least) {
		rec.Deltas = rec.Deltas[len(rec.Deltas)-max(keep, least):]
	}
	if err := p.w.store.PutVersion(p.w.t.Context(), rec); err != nil {
		p.w.t.Fatal(err)
	}
	p.last, p.content = rec, maps.Clone(content)
	p.history = append(p.history, p.content)
	return rec
}
