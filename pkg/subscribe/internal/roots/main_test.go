package roots

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const seed = 7

type records map[string]string

// numbered returns n records.
func numbered(n int) records {
	all := records{}
	for i := range n {
		all[fmt.Sprintf("key-%d", i)] = fmt.Sprintf("%080d", i)
	}
	return all
}

// sorted returns the records of m in the order of a file; a key of removed is a removal.
func sorted(m records, removed map[string]bool) []dataset.Record {
	var all []dataset.Record
	for k := range removed {
		all = append(all, dataset.Record{Key: []byte(k), Removed: true})
	}
	for k, v := range m {
		all = append(all, dataset.Record{Key: []byte(k), Value: []byte(v)})
	}
	slices.SortFunc(all, func(a, b dataset.Record) int {
		return cmp.Or(cmp.Compare(dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)), bytes.Compare(a.Key, b.Key))
	})
	return all
}

func stateOf(m records) (sum dataset.Checksum) {
	for k, v := range m {
		sum.Add(seed, dataset.AppendRecord(nil, dataset.Record{Key: []byte(k), Value: []byte(v)}))
	}
	return sum
}

func write(t testing.TB, all []dataset.Record, cfg snapshot.WriterConfig, end func(*snapshot.Writer) error) *snapshot.Reader {
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

// loadTable returns the table of m.
func loadTable(t testing.TB, version uint64, m records) *table.Table {
	t.Helper()
	all, bytes := sorted(m, nil), int64(0)
	for _, r := range all {
		bytes += int64(r.EncodedBytes())
	}
	r := write(t, all, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: bytes},
		func(w *snapshot.Writer) error { _, err := w.Close(); return err })
	tab, err := table.Load(t.Context(), r, table.Config{Version: version, NoHugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// applyTable returns the changes from base, with the records old, to m.
func applyTable(t testing.TB, base *table.Table, version uint64, old, m records) *table.Changes {
	t.Helper()
	upserts, removed := records{}, map[string]bool{}
	for k, v := range m {
		if was, ok := old[k]; !ok || was != v {
			upserts[k] = v
		}
	}
	for k := range old {
		if _, ok := m[k]; !ok {
			removed[k] = true
		}
	}
	r := write(t, sorted(upserts, removed), snapshot.WriterConfig{Kind: snapshot.Delta, Seed: seed, Base: base.State()},
		func(w *snapshot.Writer) error { _, err := w.CloseDelta(stateOf(m)); return err })
	_, changes, err := table.Apply(t.Context(), base, r, table.Config{Version: version, NoHugePages: true})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// instance is an instance with the dataset prices, and the content of every version.
type instance struct {
	t       testing.TB
	roots   *Roots
	tab     *table.Table
	content records
	history []records // by version, from 1
}

func newInstance(t testing.TB, percent, n int) *instance {
	i := &instance{t: t, roots: New(percent)}
	i.load(numbered(n))
	return i
}

func refOf(version uint64) dataset.Ref {
	return dataset.Ref{Version: version, ID: dataset.VersionID{1, byte(version >> 8), byte(version)}}
}

func (i *instance) next() uint64 { return uint64(len(i.history) + 1) }

// record returns the record of the next version, a rollback to the version to.
func (i *instance) record(to uint64) dataset.VersionRecord {
	return dataset.VersionRecord{Dataset: "prices", Version: i.next(), Seed: seed, State: stateOf(i.history[to-1]), Restores: refOf(to)}
}

func (i *instance) swap(changes, same *table.Changes, tab *table.Table, m records) {
	i.roots.Swapped(Swap{Dataset: "prices", To: Root{refOf(i.next()), tab}, Changes: changes, Same: same})
	i.tab, i.content, i.history = tab, m, append(i.history, m)
}

// load loads m as the next version from a snapshot.
func (i *instance) load(m records) {
	i.t.Helper()
	i.swap(nil, nil, loadTable(i.t, i.next(), m), m)
}

// patch makes the next version with the changes, of which empty values are removals.
func (i *instance) patch(changes records) {
	i.t.Helper()
	m := maps.Clone(i.content)
	for k, v := range changes {
		if m[k] = v; v == "" {
			delete(m, k)
		}
	}
	i.pull(m)
}

// pull makes m the next version by a delta.
func (i *instance) pull(m records) {
	i.t.Helper()
	c := applyTable(i.t, i.tab, i.next(), i.content, m)
	i.swap(c, nil, c.New(), m)
}

// find returns the root of the version to; ok is false if it is not kept. It checks the root and the changes to it.
func (i *instance) find(to uint64) (root Root, by *table.Changes, ok bool) {
	i.t.Helper()
	root, by, ok = i.roots.Find(i.record(to), i.tab)
	if !ok {
		return root, by, false
	}
	want := i.history[to-1]
	if root.Ref != refOf(to) || !maps.Equal(contentOf(root.Table), want) {
		i.t.Fatalf("the root of version %d is %v, with other content", to, root.Ref)
	}
	if by.Old() != i.tab || by.New() != root.Table {
		i.t.Fatalf("the changes lead from version %d to %d", by.Old().Version(), by.New().Version())
	}
	checkChanges(i.t, by.All(), i.content, want)
	return root, by, true
}

// checkSince checks the changes since the version from: they are known if and only if it is kept.
func (i *instance) checkSince(from uint64, kept bool) {
	i.t.Helper()
	now := Root{refOf(i.next() - 1), i.tab}
	old, by, ok := i.roots.Since("prices", refOf(from), now)
	if kept != ok {
		i.t.Fatalf("version %d is kept: %t, the changes since it are known: %t", from, kept, ok)
	}
	if !ok {
		return
	}
	if by == nil || by.Old() != old || by.New() != i.tab {
		i.t.Fatalf("the changes since version %d lead from another table, or elsewhere", from)
	}
	checkChanges(i.t, by.All(), i.history[from-1], i.content)
}

// rollback swaps to the root of the version to. ok is false if that is not kept.
func (i *instance) rollback(to uint64) (ok bool) {
	i.t.Helper()
	root, by, ok := i.find(to)
	if !ok {
		return false
	}
	tab, same := root.Table.As(i.next())
	i.swap(by.Then(same), same, tab, i.history[to-1])
	return true
}

func contentOf(tab *table.Table) records {
	m := records{}
	for k, v := range tab.All() {
		m[string(k)] = string(v)
	}
	return m
}

// checkChanges checks that changes lead from old to m, with each record once.
func checkChanges(t testing.TB, changes iter.Seq[snapshot.Change], old, m records) {
	t.Helper()
	got := maps.Clone(old)
	seen := map[string]bool{}
	for c := range changes {
		k := string(c.Key)
		was, had := old[k]
		if seen[k] || had != (c.Op != snapshot.Added) || had && was != string(c.Old) {
			t.Fatalf("%v of %s from %q, which was %q (%v)", c.Op, k, c.Old, was, had)
		}
		seen[k] = true
		if got[k] = string(c.New); c.Op == snapshot.Removed {
			delete(got, k)
		}
	}
	if !maps.Equal(got, m) {
		t.Fatal("the changes lead to other content")
	}
}
