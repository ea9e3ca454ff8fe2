package table

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSeed = 0x5eed

// inOrder returns the records of m in the order of a snapshot.
func inOrder(seed uint64, m map[string][]byte) []dataset.Record {
	var rs []dataset.Record
	for key, value := range m {
		rs = append(rs, dataset.Record{Key: []byte(key), Value: value})
	}
	slices.SortFunc(rs, func(a, b dataset.Record) int {
		return cmp.Or(cmp.Compare(dataset.Hash(seed, a.Key), dataset.Hash(seed, b.Key)), bytes.Compare(a.Key, b.Key))
	})
	return rs
}

// snapshotOf returns a snapshot file of m's records. hint is the expected size; 0 means the actual size.
func snapshotOf(t testing.TB, seed uint64, m map[string][]byte, hint int64) []byte {
	t.Helper()
	rs := inOrder(seed, m)
	if hint == 0 {
		for _, r := range rs {
			hint += int64(r.EncodedBytes())
		}
	}
	var file bytes.Buffer
	w, err := snapshot.NewWriter(&file, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: seed, RawBytes: hint})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			w.Abort()
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// load loads a snapshot file.
func load(t testing.TB, file []byte, cfg Config) (*Table, error) {
	r, err := snapshot.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return Load(t.Context(), r, cfg)
}

// tableOf returns a table of m's records.
func tableOf(t testing.TB, m map[string][]byte) *Table {
	t.Helper()
	tab, err := load(t, snapshotOf(t, testSeed, m, 0), Config{Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// numberedRecords returns n records with keys "key-0" and so on and values of valueBytes.
func numberedRecords(n, valueBytes int) map[string][]byte {
	m := make(map[string][]byte, n)
	for i := range n {
		value := fmt.Appendf(nil, "value-%d ", i)
		m[fmt.Sprintf("key-%d", i)] = append(value, bytes.Repeat([]byte{'.'}, max(0, valueBytes-len(value)))...)
	}
	return m
}

// check compares every method of tab with m, the records that tab should hold.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, tab *Table, seed uint64, m map[string][]byte,
) {
	t.Helper()
	var state dataset.Checksum
	payload := int64(0)
	want := inOrder(seed, m)
	keys := make([][]byte, 0, 2*len(want))
	for _, r := range want {
		value, ok := tab.Get(r.Key)
		if !ok || !bytes.Equal(value, r.Value) || value == nil || cap(value) != len(value) {
			t.Fatalf("Get(%.40q) = %.40q (cap %d), %v; want %.40q", r.Key, value, cap(value), ok, r.Value)
		}
		if value, ok := tab.GetString(string(r.Key)); !ok || !bytes.Equal(value, r.Value) {
			t.Fatalf("GetString(%.40q) = %.40q, %v; want %.40q", r.Key, value, ok, r.Value)
		}
		state.Add(seed, dataset.AppendRecord(nil, r))
		payload += int64(len(r.Key) + len(r.Value))
		keys = append(keys, r.Key)
		// Near misses: keys with a byte more, a byte less, a byte changed, and the empty key.
		changed := bytes.Clone(r.Key)
		changed[len(changed)/2] ^= 1
		for _, other := range [][]byte{append(bytes.Clone(r.Key), 'x'), r.Key[:len(r.Key)-1], changed, nil} {
			wanted, there := m[string(other)]
			if value, ok := tab.Get(other); ok != there || !bytes.Equal(value, wanted) {
				t.Fatalf("Get(%.40q) = %.40q, %v; want %.40q, %v", other, value, ok, wanted, there)
			}
			keys = append(keys, other)
		}
	}
	checkMany(t, tab, keys)
	if tab.Len() != len(want) || tab.PayloadBytes() != payload || tab.State() != state || tab.Seed() != seed {
		t.Fatalf("table of %d records, %d payload bytes, state %v, seed %x; want %d, %d, %v, %x",
			tab.Len(), tab.PayloadBytes(), tab.State(), tab.Seed(), len(want), payload, state, seed)
	}
	i := 0
	for key, value := range tab.All() {
		if i == len(want) || !bytes.Equal(key, want[i].Key) || !bytes.Equal(value, want[i].Value) {
			t.Fatalf("All yields %.40q, %.40q as record %d of %d", key, value, i, len(want))
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("All yields %d records of %d", i, len(want))
	}
	checkFrom(t, tab, seed, want)
}

// checkFrom compares From, at the hashes of records and at their neighbours, with want, the records of tab.
func checkFrom(t interface {
	Helper()
	Fatalf(string, ...any)
}, tab *Table, seed uint64, want []dataset.Record,
) {
	t.Helper()
	hashes := []uint64{0, math.MaxUint64}
	for i := 0; i < len(want); i += 1 + len(want)/200 {
		h := dataset.Hash(seed, want[i].Key)
		hashes = append(hashes, h-1, h, h+1)
	}
	for _, h := range hashes {
		i, _ := slices.BinarySearchFunc(want, h, func(r dataset.Record, h uint64) int { return cmp.Compare(dataset.Hash(seed, r.Key), h) })
		n := 0
		for key, value := range tab.From(h) {
			if i+n == len(want) || !bytes.Equal(key, want[i+n].Key) || !bytes.Equal(value, want[i+n].Value) {
				t.Fatalf("From(%x) yields %.40q as record %d, which is number %d of %d", h, key, n, i, len(want))
			}
			if n++; n == 3 {
				break
			}
		}
		if n < min(3, len(want)-i) {
			t.Fatalf("From(%x) yields %d records, want those from %d of %d", h, n, i, len(want))
		}
	}
}

// checkMany compares GetMany with Get.
func checkMany(t interface {
	Helper()
	Fatalf(string, ...any)
}, tab *Table, keys [][]byte,
) {
	t.Helper()
	values := make([][]byte, len(keys)+1)
	values[len(keys)] = []byte("not touched")
	for i := range keys {
		values[i] = []byte("left from before")
	}
	count := 0
	found := tab.GetMany(keys, values)
	for i, key := range keys {
		value, ok := tab.Get(key)
		if ok {
			count++
		}
		if !bytes.Equal(values[i], value) || (values[i] == nil) == ok {
			t.Fatalf("GetMany of %d keys: %.40q is %.40q (nil: %v); Get says %.40q, %v", len(keys), key, values[i], values[i] == nil, value, ok)
		}
	}
	if found != count || string(values[len(keys)]) != "not touched" {
		t.Fatalf("GetMany of %d keys found %d, want %d", len(keys), found, count)
	}
}
