package snapshot

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"freshet.dev/pkg/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSeed = 0x5eed

// up and gone return an upsert and a removal.
func up(key, value string) dataset.Record {
	return dataset.Record{Key: []byte(key), Value: []byte(value)}
}

func gone(key string) dataset.Record { return dataset.Record{Key: []byte(key), Removed: true} }

// sorted sorts records into the order of a file with the given seed.
func sorted(seed uint64, rs []dataset.Record) []dataset.Record {
	slices.SortFunc(rs, func(a, b dataset.Record) int { return compareKeys(seed, a.Key, b.Key) })
	return rs
}

// compareKeys compares by (hash, key).
func compareKeys(seed uint64, a, b []byte) int {
	return cmp.Or(cmp.Compare(dataset.Hash(seed, a), dataset.Hash(seed, b)), bytes.Compare(a, b))
}

// stateOf returns the state checksum of rs.
func stateOf(seed uint64, rs []dataset.Record) dataset.Checksum {
	var c dataset.Checksum
	for _, r := range rs {
		if !r.Removed {
			c.Add(seed, dataset.AppendRecord(nil, r))
		}
	}
	return c
}

func rawBytes(rs []dataset.Record) (n int64) {
	for _, r := range rs {
		n += int64(r.EncodedBytes())
	}
	return n
}

// rows returns n records of 16-byte keys and 100-byte values that compress like rows of a real table.
func rows(n int) []dataset.Record {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	names := []string{"bolt", "nut", "washer", "screw", "gear", "plate", "frame", "spring"}
	keys, values := make([]byte, 0, n*16), make([]byte, 0, n*100)
	rs := make([]dataset.Record, n)
	for i := range rs {
		keys = binary.BigEndian.AppendUint64(keys, rng.Uint64())
		keys = binary.BigEndian.AppendUint64(keys, uint64(i))
		values = fmt.Appendf(values, `{"sku":%07d,"price":%d.%02d,"stock":%d,"name":"%s %s","cur":"EUR","live":%t}`,
			i, rng.IntN(500), rng.IntN(100), rng.IntN(1000), names[rng.IntN(8)], names[rng.IntN(8)], rng.IntN(2) == 0)
		for len(values) < (i+1)*100 {
			values = append(values, ' ')
		}
		values = values[:(i+1)*100]
		rs[i] = dataset.Record{Key: keys[i*16:][:16:16], Value: values[i*100:][:100:100]}
	}
	// As after a sort: in order, and contiguous in memory.
	all := make([]byte, 0, n*116)
	for i, r := range sorted(testSeed, rs) {
		all = append(append(all, r.Key...), r.Value...)
		rs[i] = dataset.Record{Key: all[i*116:][:16:16], Value: all[i*116+16:][:100:100]}
	}
	return rs
}

// write returns a file of rs, and its totals. A delta leads from base to result.
func write(tb testing.TB, cfg WriterConfig, rs []dataset.Record, result dataset.Checksum) ([]byte, Totals) {
	tb.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			tb.Fatal(err)
		}
	}
	var t Totals
	if cfg.Kind == Delta {
		t, err = w.CloseDelta(result)
	} else {
		t, err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), t
}

// snapshotOf returns a snapshot of rs, which it sorts, for an expected sum of raw bytes (0: the true one).
func snapshotOf(tb testing.TB, rs []dataset.Record, raw int64) []byte {
	tb.Helper()
	b, _ := write(tb, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: cmp.Or(raw, rawBytes(rs))}, sorted(testSeed, rs), dataset.Checksum{})
	return b
}

// verify reads the file in src to its end, and returns the first error.
func verify(src io.Reader, opts ...Option) (Header, Totals, error) {
	r, err := NewReader(src, opts...)
	if err != nil {
		return Header{}, Totals{}, err
	}
	for _, err := range r.Records() {
		if err != nil {
			return r.Header(), Totals{}, err
		}
	}
	return r.Header(), r.Totals(), nil
}

// readAll returns copies of the records of a file up to the first error.
func readAll(src io.Reader, opts ...Option) ([]dataset.Record, error) {
	r, err := NewReader(src, opts...)
	if err != nil {
		return nil, err
	}
	return collect(r.Records())
}

func collect(seq iter.Seq2[dataset.Record, error]) (rs []dataset.Record, err error) {
	for r, err := range seq {
		if err != nil {
			return rs, err
		}
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		rs = append(rs, r)
	}
	return rs, nil
}

func sameRecord(a, b dataset.Record) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Removed == b.Removed
}

func sameRecords(a, b []dataset.Record) bool { return slices.EqualFunc(a, b, sameRecord) }
