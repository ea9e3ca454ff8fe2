package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// stateOf returns the state checksum of m's records.
func stateOf(seed uint64, m map[string][]byte) dataset.Checksum {
	var state dataset.Checksum
	for key, value := range m {
		state.Add(seed, dataset.AppendRecord(nil, dataset.Record{Key: []byte(key), Value: value}))
	}
	return state
}

// changed returns m after the changes; a nil value removes a record.
func changedBy(m, changes map[string][]byte) map[string][]byte {
	m = maps.Clone(m)
	for key, value := range changes {
		if value == nil {
			delete(m, key)
		} else {
			m[key] = value
		}
	}
	return m
}

// writeDelta returns a delta file of the changes; a nil value removes a record. hint is the expected size; 0 means the
// actual size.
func writeDelta(t testing.TB, seed uint64, changes map[string][]byte, base, result dataset.Checksum, hint int64) []byte {
	t.Helper()
	rs := inOrder(seed, changes)
	for i := range rs {
		rs[i].Removed = rs[i].Value == nil
	}
	if hint == 0 {
		for _, r := range rs {
			hint += int64(r.EncodedBytes())
		}
	}
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Delta, Seed: seed, RawBytes: hint, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			w.Abort()
			t.Fatal(err)
		}
	}
	if _, err := w.CloseDelta(result); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// stateAfter returns the state checksum of m after the changes; base is that of m.
func stateAfter(seed uint64, base dataset.Checksum, m, changes map[string][]byte) dataset.Checksum {
	for key, value := range changes {
		if was, ok := m[key]; ok {
			base.Remove(seed, dataset.AppendRecord(nil, dataset.Record{Key: []byte(key), Value: was}))
		}
		if value != nil {
			base.Add(seed, dataset.AppendRecord(nil, dataset.Record{Key: []byte(key), Value: value}))
		}
	}
	return base
}

// deltaOf returns a delta file from m to m after the changes.
func deltaOf(t testing.TB, seed uint64, m, changes map[string][]byte) []byte {
	t.Helper()
	base := stateOf(seed, m)
	return writeDelta(t, seed, changes, base, stateAfter(seed, base, m, changes), 0)
}

// apply applies a delta file.
func apply(ctx context.Context, base *Table, file []byte, cfg Config) (*Table, *Changes, error) {
	r, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	return Apply(ctx, base, r, cfg)
}

// fatal is the common interface of testing.TB and rapid.T.
type fatal interface {
	Helper()
	Fatalf(string, ...any)
}

// checkChanges compares changes, which must be in order, with the difference of two maps.
func checkChanges(t fatal, what string, seed uint64, changes iter.Seq[snapshot.Change], old, new map[string][]byte) {
	t.Helper()
	want := make(map[string]snapshot.Op)
	for key, value := range new {
		if was, ok := old[key]; !ok {
			want[key] = snapshot.Added
		} else if !bytes.Equal(was, value) {
			want[key] = snapshot.Changed
		}
	}
	for key := range old {
		if _, ok := new[key]; !ok {
			want[key] = snapshot.Removed
		}
	}
	var last []byte
	var lastHash uint64
	for c := range changes {
		key := string(c.Key)
		if want[key] != c.Op {
			t.Fatalf("%s: %v of %.40q, want %v", what, c.Op, key, want[key])
		}
		delete(want, key)
		if !bytes.Equal(c.Old, old[key]) || !bytes.Equal(c.New, new[key]) ||
			(c.Old == nil) != (c.Op == snapshot.Added) || (c.New == nil) != (c.Op == snapshot.Removed) {
			t.Fatalf("%s: %.40q from %.40q to %.40q, want %.40q to %.40q", what, key, c.Old, c.New, old[key], new[key])
		}
		hash := dataset.Hash(seed, c.Key)
		if last != nil && (hash < lastHash || hash == lastHash && bytes.Compare(c.Key, last) <= 0) {
			t.Fatalf("%s: %.40q follows %.40q", what, key, last)
		}
		last, lastHash = c.Key, hash
	}
	if len(want) > 0 {
		t.Fatalf("%s: %d changes are missing: %.100v", what, len(want), want)
	}
}

// TestApplyWithHugePages applies deltas to a table whose number of partitions makes Apply request huge pages for all
// memory. It checks that successive versions share their hugePages, and that NoHugePages ends the requests.
func TestApplyWithHugePages(t *testing.T) {
	for _, off := range []bool{false, true} {
		m := numberedRecords(15_000, 20)
		tab, err := load(t, snapshotOf(t, testSeed, m, 128<<20), Config{NoHugePages: off})
		if err != nil {
			t.Fatal(err)
		}
		if tab.dirBits() < hugeAllBits {
			t.Fatalf("%d partition bits; the test needs %d", tab.dirBits(), hugeAllBits)
		}
		asked := tab.huge
		if (asked == nil) != off {
			t.Fatalf("with NoHugePages %v, huge pages were requested: %v", off, asked != nil)
		}
		for i := range 4 {
			changes := make(map[string][]byte)
			for k := i; k < 15_000; k += 5 {
				changes[fmt.Sprintf("key-%d", k)] = fmt.Appendf(nil, "delta %d %d", i, k)
			}
			file := deltaOf(t, testSeed, m, changes)
			m = changedBy(m, changes)
			if tab, _, err = apply(t.Context(), tab, file, Config{NoHugePages: off}); err != nil {
				t.Fatal(err)
			}
			if tab.huge != asked {
				t.Fatalf("delta %d: the next version does not share the hugePages", i)
			}
			if off {
				break
			}
		}
		if !off {
			check(t, tab, testSeed, m)
		}
	}
}

// checkPartitions checks the counters of tab's partitions against their content.
func checkPartitions(t fatal, tab *Table) {
	t.Helper()
	total := 8*int64(len(tab.partitions)) + tableBytes
	for i := 0; i < len(tab.partitions); {
		p := tab.partitions[i]
		first, end := tab.extent(i)
		if first != i || end > len(tab.partitions) {
			t.Fatalf("the partition at entry %d has the extent %d to %d", i, first, end)
		}
		for ; i < end; i++ {
			if tab.partitions[i] != p {
				t.Fatalf("entry %d has another partition than %d", i, first)
			}
		}
		total += p.bytes()
		records, live := 0, 0
		c := cursor{p: p}
		for off := c.next(); off != 0; off = c.next() {
			r, encoded := p.decode(off)
			hash := dataset.Hash(tab.seed, r.Key)
			if dir := int(hash >> tab.shift); dir < first || dir >= end {
				t.Fatalf("%.40q belongs to entry %d, not to %d", r.Key, dir, first)
			}
			records++
			live += len(encoded)
		}
		if records != int(p.records) || live != p.live() {
			t.Fatalf("partition %d counts %d records and %d live bytes, and has %d and %d", first, p.records, p.live(), records, live)
		}
		if p.records == 0 && p.used() != 0 {
			t.Fatalf("partition %d without records has %d bytes", first, p.used())
		}
		if p.records > 0 && cap(p.slab) > 0 && cap(p.slab)-len(p.slab) < slabSpare || p.patch != nil && p.patchCap-p.patchLen < slabSpare {
			t.Fatalf("partition %d lacks spare capacity after its records", first)
		}
		for i := range indexPages {
			if page := p.page(i); page[len(page)-1] != 0 {
				t.Fatalf("page %d of partition %d does not end with 0", i, first)
			}
		}
	}
	if total != tab.Bytes() {
		t.Fatalf("the table has %d bytes, its parts have %d", tab.Bytes(), total)
	}
}

func TestDeltasOfAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "values"), 0))
		random := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return b
		}
		keys := rapid.SampledFrom([]int{1, 5, 40, 300, 1500}).Draw(rt, "keys")
		long := rapid.SampledFrom([]int{0, 10, 100, 1000}).Draw(rt, "value bytes")
		key := func() string {
			i := rng.IntN(keys)
			if i%50 == 7 {
				return fmt.Sprintf("%0*d", 1+i%dataset.MaxKeyBytes, i)
			}
			return fmt.Sprintf("key-%d", i)
		}
		value := func() []byte {
			if rng.IntN(500) == 0 {
				return random(rng.IntN(20_000))
			}
			return random(rng.IntN(long + 1))
		}
		m := make(map[string][]byte)
		for range rapid.IntRange(0, keys).Draw(rt, "records") {
			m[key()] = value()
		}
		// A wrong expected size results in many partitions of few records, or in one partition.
		hints := rapid.SampledFrom([]int64{0, 1, 4 << 20, 100 << 20})
		first, err := load(t, snapshotOf(t, seed, m, hints.Draw(rt, "expected size")), Config{Version: 1, Workers: 1})
		if err != nil {
			rt.Fatal(err)
		}
		type version struct {
			table *Table
			m     map[string][]byte
		}
		versions := []version{{first, m}}
		var all *Changes
		for i := range rapid.IntRange(1, 6).Draw(rt, "deltas") {
			base := versions[len(versions)-1].table
			changes := make(map[string][]byte)
			for range rapid.IntRange(0, 1+rng.IntN(keys)).Draw(rt, "changes") {
				changes[key()] = value()
			}
			removals := rapid.IntRange(0, 10).Draw(rt, "removals of 10")
			for _, r := range inOrder(seed, m) {
				if rng.IntN(12) < removals {
					changes[string(r.Key)] = nil
				}
			}
			next := changedBy(m, changes)
			file := writeDelta(t, seed, changes, base.State(), stateOf(seed, next), hints.Draw(rt, "expected delta size"))
			tab, made, err := apply(t.Context(), base, file, Config{Version: uint64(i + 2), Workers: rapid.IntRange(0, 3).Draw(rt, "workers")})
			if err != nil {
				rt.Fatal(err)
			}
			if tab.Version() != uint64(i+2) || made.Old() != base || made.New() != tab {
				rt.Fatalf("version %d", tab.Version())
			}
			checkChanges(rt, "changes", seed, made.All(), m, next)
			checkChanges(rt, "brief changes", seed, made.Brief(), m, next)
			if all == nil {
				all = made
			} else {
				all = all.Then(made)
			}
			m = next
			versions = append(versions, version{tab, m})
		}
		for _, v := range versions {
			check(rt, v.table, seed, v.m)
			checkPartitions(rt, v.table)
		}
		last := versions[len(versions)-1]
		checkChanges(rt, "all changes", seed, all.All(), versions[0].m, last.m)
		checkChanges(rt, "all brief changes", seed, all.Brief(), versions[0].m, last.m)
		checkChanges(rt, "diff", seed, Diff(first, last.table), versions[0].m, last.m)
		checkChanges(rt, "diff back", seed, Diff(last.table, first), last.m, versions[0].m)
	})
}

func TestApplyRefusesAnotherBase(t *testing.T) {
	m := numberedRecords(1000, 10)
	tab := tableOf(t, m)
	changes := map[string][]byte{"key-1": []byte("new")}
	for name, file := range map[string][]byte{
		"another state": deltaOf(t, testSeed, changedBy(m, map[string][]byte{"key-2": nil}), changes),
		"another seed":  writeDelta(t, testSeed+1, changes, stateOf(testSeed, m), stateOf(testSeed, m), 0),
	} {
		if got, made, err := apply(t.Context(), tab, file, Config{Version: 2}); !errors.Is(err, ErrBase) || got != nil || made != nil {
			t.Errorf("%s: Apply = %v, %v, %v; want ErrBase", name, got, made, err)
		}
	}
	if _, _, err := apply(t.Context(), tab, snapshotOf(t, testSeed, m, 0), Config{}); !errors.Is(err, ErrKind) {
		t.Errorf("Apply of a snapshot: %v; want ErrKind", err)
	}
	check(t, tab, testSeed, m)
}
