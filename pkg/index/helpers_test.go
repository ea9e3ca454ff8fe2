package index_test

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"testing"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/index"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

const seed = 7

var background = context.Background()

// fataler is a *testing.T, *testing.B or *rapid.T.
type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// records is the content of a version.
type records map[string]string

// inOrder returns the records in the order of a file. Those of removed are removals.
func inOrder(m records, removed []string) []dataset.Record {
	var all []dataset.Record
	for k, v := range m {
		all = append(all, dataset.Record{Key: []byte(k), Value: []byte(v)})
	}
	for _, k := range removed {
		all = append(all, dataset.Record{Key: []byte(k), Removed: true})
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		return cmp.Or(cmp.Compare(dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)), bytes.Compare(a.Key, b.Key))
	})
	return all
}

// file returns a snapshot or delta file of the records.
func file(t fataler, all []dataset.Record, cfg snapshot.WriterConfig, end func(*snapshot.Writer) error) *snapshot.Reader {
	t.Helper()
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(w); err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// load returns the table of m.
func load(t fataler, version uint64, m records) *table.Table {
	t.Helper()
	return loadAll(t, version, inOrder(m, nil))
}

func loadAll(t fataler, version uint64, all []dataset.Record) *table.Table {
	t.Helper()
	size := int64(0)
	for _, r := range all {
		size += int64(r.EncodedBytes())
	}
	r := file(t, all, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: size},
		func(w *snapshot.Writer) error { _, err := w.Close(); return err })
	tab, err := table.Load(background, r, table.Config{Version: version, NoHugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// delta returns the reader of the delta that makes m of base, and what m is.
func delta(t fataler, base *table.Table, set records, removed []string) *snapshot.Reader {
	t.Helper()
	state, size := base.State(), int64(0)
	all := inOrder(set, removed)
	for _, r := range all {
		if was, ok := base.Get(r.Key); ok {
			state.Remove(seed, dataset.AppendRecord(nil, dataset.Record{Key: r.Key, Value: was}))
		}
		if !r.Removed {
			state.Add(seed, dataset.AppendRecord(nil, r))
		}
		size += int64(r.EncodedBytes())
	}
	return file(t, all, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: seed, Base: base.State(), RawBytes: size},
		func(w *snapshot.Writer) error { _, err := w.CloseDelta(state); return err })
}

// patch returns the changes from base that set records and remove others.
func patch(t fataler, base *table.Table, set records, removed []string) *table.Changes {
	t.Helper()
	_, changes, err := table.Apply(background, base, delta(t, base, set, removed), table.Config{Version: base.Version() + 1, NoHugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func compile(t fataler, texts ...string) *index.Specs {
	t.Helper()
	var specs []index.Spec
	for _, text := range texts {
		s, err := index.ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	compiled, err := index.Compile(specs)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func build(t fataler, tab *table.Table, texts ...string) *index.Set {
	t.Helper()
	set, err := compile(t, texts...).Build(background, tab, dataset.VersionID{byte(tab.Version())})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func follow(t fataler, set *index.Set, changes *table.Changes) *index.Set {
	t.Helper()
	next, err := set.Apply(background, changes.New(), dataset.VersionID{byte(changes.New().Version())}, changes.Brief())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// keys returns the keys that the conditions find.
func keys(t fataler, set *index.Set, conditions ...index.Condition) []string {
	t.Helper()
	m, err := set.Find(conditions...)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for match := range m.All() {
		if value, ok := set.Table().Get(match.Key); !ok || !bytes.Equal(value, match.Value) {
			t.Fatalf("found %q with the value %q, the table has %q", match.Key, match.Value, value)
		}
		all = append(all, string(match.Key))
	}
	return all
}

// pages returns the keys that the conditions find, read in pages.
func pages(t fataler, set *index.Set, limits index.Limits, conditions ...index.Condition) []string {
	t.Helper()
	all, cursor := []string{}, ""
	for {
		m, err := set.FindAfter(cursor, conditions...)
		if err != nil {
			t.Fatal(err)
		}
		page, next := m.Page(limits)
		for _, match := range page {
			all = append(all, string(match.Key))
		}
		if next == "" {
			return all
		}
		if next == cursor {
			t.Fatalf("the cursor %q leads to itself", cursor)
		}
		cursor = next
	}
}

var _ fataler = (*testing.T)(nil)
