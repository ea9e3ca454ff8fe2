// Package rows generates the records of benchmarks: 16-byte keys and 100-byte values that compress like rows of a real dataset (about
// 4 to 1). Row i is a function of i, so that a benchmark need not hold the expected values.
package rows

import (
	"cmp"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Sizes of a row in bytes.
const (
	KeyBytes     = 16
	ValueBytes   = 100
	PayloadBytes = KeyBytes + ValueBytes
)

// Seed is the hash seed of the snapshots.
const Seed = 0x5eed

// AppendKey appends the key of row i: 16 hex digits, distinct for all i and in no order.
func AppendKey(dst []byte, i int) []byte {
	const digits = "0123456789abcdef"
	x := mix(uint64(i))
	for range KeyBytes {
		dst = append(dst, digits[x&15])
		x >>= 4
	}
	return dst
}

var words = []string{"bolt", "nut", "washer", "screw", "gear", "plate", "frame", "spring"}

// AppendValue appends the value of row i: a JSON object with the members of [Row].
func AppendValue(dst []byte, i int) []byte { return AppendGeneration(dst, i, 0) }

// AppendUpdate appends the value of row i in a later version that changed the row.
func AppendUpdate(dst []byte, i int) []byte { return AppendGeneration(dst, i, 1) }

// AppendGeneration appends the value of row i after g changes.
func AppendGeneration(dst []byte, i, g int) []byte {
	return appendValue(dst, i, mix(uint64(i)+uint64(g+1)<<40))
}

// appendValue derives the parts that differ between rows, other than the key and the number, from x.
func appendValue(dst []byte, i int, x uint64) []byte {
	start := len(dst)
	dst = append(dst, `{"key":"`...)
	dst = AppendKey(dst, i)
	dst = append(dst, `","sku":`...)
	dst = strconv.AppendInt(dst, int64(1_000_000+i%9_000_000), 10)
	dst = append(dst, `,"price":`...)
	dst = strconv.AppendUint(dst, 100+x%900, 10)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, 10+x>>10%90, 10)
	dst = append(dst, `,"stock":`...)
	dst = strconv.AppendUint(dst, 100+x>>20%900, 10)
	dst = append(dst, `,"name":"`...)
	dst = append(dst, words[x>>30%8]...)
	dst = append(dst, ' ')
	dst = append(dst, words[x>>40%8]...)
	for len(dst) < start+ValueBytes-2 {
		dst = append(dst, '.')
	}
	return append(dst, `"}`...)
}

// Row is the decoded value of a row.
type Row struct {
	Key   string  `json:"key"`
	SKU   int     `json:"sku"`
	Price float64 `json:"price"`
	Stock int     `json:"stock"`
	Name  string  `json:"name"`
}

// mix is the finalizer of splitmix64, a bijection.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Order returns the numbers of rows 0 to count-1 in the order of a snapshot.
func Order(count int) []int32 {
	type position struct {
		hash uint64
		row  int32
	}
	order := make([]position, count)
	var key []byte
	for i := range order {
		key = AppendKey(key[:0], i)
		order[i] = position{dataset.Hash(Seed, key), int32(i)}
	}
	slices.SortFunc(order, func(a, b position) int { return cmp.Compare(a.hash, b.hash) })
	rows := make([]int32, count)
	for i, p := range order {
		rows[i] = p.row
	}
	return rows
}

// EncodedBytes is the size of a row as an entry of a file.
func EncodedBytes() int {
	return dataset.Record{Key: make([]byte, KeyBytes), Value: make([]byte, ValueBytes)}.EncodedBytes()
}

// WriteSnapshot writes the snapshot of rows 0 to count-1.
func WriteSnapshot(w io.Writer, count int) (snapshot.Totals, error) {
	return WriteGenerations(w, Order(count), func(int) int { return 0 })
}

// WriteGenerations writes the snapshot of the rows in order, each with its generation.
func WriteGenerations(w io.Writer, order []int32, generation func(row int) int) (snapshot.Totals, error) {
	out, err := snapshot.NewWriter(w, snapshot.WriterConfig{
		Kind: snapshot.Snapshot, Seed: Seed, RawBytes: int64(EncodedBytes()) * int64(len(order)),
	})
	if err != nil {
		return snapshot.Totals{}, err
	}
	var key, value []byte
	for _, row := range order {
		i := int(row)
		key, value = AppendKey(key[:0], i), AppendGeneration(value[:0], i, generation(i))
		if err := out.Add(dataset.Record{Key: key, Value: value}); err != nil {
			out.Abort()
			return snapshot.Totals{}, err
		}
	}
	return out.Close()
}

// Keys returns the keys of n random rows from first to first+count-1. The keys are contiguous in memory, so that reading them costs
// little.
func Keys(rng *rand.Rand, n, first, count int) [][]byte {
	all := make([]byte, 0, n*KeyBytes)
	keys := make([][]byte, n)
	for i := range keys {
		all = AppendKey(all, first+rng.IntN(count))
		keys[i] = all[i*KeyBytes : (i+1)*KeyBytes : (i+1)*KeyBytes]
	}
	return keys
}
