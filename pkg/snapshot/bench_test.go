package snapshot

import (
	"bytes"
	"io"
	"iter"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
)

const benchRows = 1_000_000

var benchFile = sync.OnceValues(func() ([]dataset.Record, []byte) {
	rs := rows(benchRows)
	var b bytes.Buffer
	w, err := NewWriter(&b, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: rawBytes(rs)})
	if err != nil {
		panic(err)
	}
	for _, r := range rs {
		if err := w.Add(r); err != nil {
			panic(err)
		}
	}
	if _, err := w.Close(); err != nil {
		panic(err)
	}
	return rs, b.Bytes()
})

// blocksOf returns the blocks of a file and their raw bytes.
func blocksOf(tb testing.TB, file []byte) (blocks []Stored, raw int64) {
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		tb.Fatal(err)
	}
	for {
		s, err := r.Next(nil)
		if err == io.EOF {
			return blocks, raw
		}
		if err != nil {
			tb.Fatal(err)
		}
		blocks, raw = append(blocks, s), raw+int64(s.RawBytes)
	}
}

func perRecord(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/record")
}

func BenchmarkWrite(b *testing.B) {
	rs, file := benchFile()
	raw := rawBytes(rs)
	b.SetBytes(raw)
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: raw})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rs {
			if err := w.Add(r); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b)
	b.ReportMetric(float64(raw)/float64(len(file)), "ratio")
}

// BenchmarkRead measures the reading goroutine of a load: Next, with its checksums and the digest.
func BenchmarkRead(b *testing.B) {
	_, file := benchFile()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		for {
			s, err := r.Next(buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			buf = s.Bytes
		}
	}
	perRecord(b)
}

// BenchmarkDecode and BenchmarkDecodeWalk measure the workers of a load, on one goroutine.
func BenchmarkDecode(b *testing.B) {
	_, file := benchFile()
	blocks, raw := blocksOf(b, file)
	b.SetBytes(raw)
	b.ReportAllocs()
	buf := make([]byte, 1<<20)
	for b.Loop() {
		for _, s := range blocks {
			if _, err := s.Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	perRecord(b)
}

func BenchmarkDecodeWalk(b *testing.B) {
	_, file := benchFile()
	blocks, raw := blocksOf(b, file)
	b.SetBytes(raw)
	b.ReportAllocs()
	buf := make([]byte, 1<<20)
	var sum uint64
	for b.Loop() {
		for _, s := range blocks {
			raw, err := s.Decode(buf)
			if err != nil {
				b.Fatal(err)
			}
			w := s.Walk(raw)
			for w.Next() {
				sum += w.Hash() + uint64(w.Offset())
			}
			if err := w.Err(); err != nil {
				b.Fatal(err)
			}
		}
	}
	perRecord(b)
}

// BenchmarkRecords reads and verifies a whole file and yields each record, on one goroutine.
func BenchmarkRecords(b *testing.B) {
	_, file := benchFile()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := verify(bytes.NewReader(file)); err != nil {
			b.Fatal(err)
		}
	}
	perRecord(b)
}

// BenchmarkDiff compares two files of which every thousandth record differs.
func BenchmarkDiff(b *testing.B) {
	rs, file := benchFile()
	changed := make([]dataset.Record, len(rs))
	copy(changed, rs)
	for i := 0; i < len(rs); i += 1000 {
		changed[i].Value = []byte("changed")
	}
	other := snapshotOf(b, changed, 0)
	b.ReportAllocs()
	for b.Loop() {
		old, err := NewReader(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		now, err := NewReader(bytes.NewReader(other))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range Diff(testSeed, old.Records(), now.Records()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchRows/1000 {
			b.Fatal(n)
		}
	}
	perRecord(b)
}

// BenchmarkGroups measures the cost of the group limit for each record of a publish.
func BenchmarkGroups(b *testing.B) {
	rs := rows(100_000)
	g := NewGroups(testSeed)
	for i := 0; b.Loop(); i++ {
		if err := g.Add(rs[i%len(rs)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMerge merges a base with two deltas of a thousandth of its records each.
func BenchmarkMerge(b *testing.B) {
	rs, _ := benchFile()
	records := func(step, first int) iter.Seq2[dataset.Record, error] {
		return func(yield func(dataset.Record, error) bool) {
			for i := first; i < len(rs); i += step {
				if !yield(rs[i], nil) {
					return
				}
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range Merge(testSeed, records(1, 0), records(1000, 0), records(1000, 500)) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != benchRows {
			b.Fatal(n)
		}
	}
	perRecord(b)
}
