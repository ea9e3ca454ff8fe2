package snapshot

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"freshet.dev/pkg/dataset"
)

// TestWalker checks every method of a Walker for each entry, with key and value lengths of every encoded size.
func TestWalker(t *testing.T) {
	var entries []dataset.Record
	for i, klen := range []int{1, 2, 63, 64, 65, 127, 128, 1023, 1024} {
		for j, vlen := range []int{0, 1, 127, 128, 129, 16_383, 16_384, 100_000} {
			key := bytes.Repeat([]byte{byte('a' + i)}, klen)
			key[0] = byte('a' + j)
			if klen > 1 {
				key[1] = byte('0' + i)
			} else {
				key[0] = byte('0' + j)
			}
			entries = append(entries, dataset.Record{Key: key, Value: bytes.Repeat([]byte{'v'}, vlen)})
		}
	}
	entries = append(entries, gone("x"), gone(strings.Repeat("y", 1024)))
	sorted(testSeed, entries)
	file, totals := write(t, WriterConfig{Kind: Delta, Seed: testSeed, RawBytes: rawBytes(entries), Base: dataset.Checksum{Records: 2}},
		entries, dataset.Checksum{Records: uint64(len(entries) - 2)})
	blocks, _ := blocksOf(t, file)
	var sum Tally
	n := 0
	for _, s := range blocks {
		raw, err := s.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		off := 0
		w := s.Walk(raw)
		for ; w.Next(); n++ {
			r := entries[n]
			encoded := dataset.AppendRecord(nil, r)
			if !sameRecord(w.Record(), r) || !bytes.Equal(w.Key(), r.Key) || !bytes.Equal(w.Value(), r.Value) || w.Removed() != r.Removed ||
				!bytes.Equal(w.Encoded(), encoded) || w.Offset() != off || w.Hash() != dataset.Hash(testSeed, r.Key) {
				t.Fatalf("entry %d, key %.20q, value of %d bytes: differs from the entry written", n, r.Key, len(r.Value))
			}
			if cap(w.Key()) != len(r.Key) || cap(w.Value()) != len(r.Value) || cap(w.Encoded()) != len(encoded) {
				t.Fatalf("entry %d: an append to a returned slice would overwrite the next entry", n)
			}
			off += len(encoded)
		}
		if err := w.Err(); err != nil || w.Next() || w.Err() != nil || off != s.RawBytes {
			t.Fatalf("at the end of partition %d: %v", s.Partition, err)
		}
		sum.Merge(w.Tally())
	}
	want := Tally{Entries: totals.Entries, Removals: 2, RawBytes: totals.RawBytes, PayloadBytes: totals.PayloadBytes, State: stateOf(testSeed, entries)}
	if n != len(entries) || sum != want {
		t.Errorf("%d entries, %+v; want %d, %+v", n, sum, len(entries), want)
	}
}

// TestNoAllocation checks that decoding and walking do not allocate for each record.
func TestNoAllocation(t *testing.T) {
	file := snapshotOf(t, rows(10_000), 0)
	blocks, _ := blocksOf(t, file)
	buf := make([]byte, 0, 1<<20)
	n := testing.AllocsPerRun(10, func() {
		for _, s := range blocks {
			raw, err := s.Decode(buf)
			if err != nil {
				t.Error(err)
			}
			w := s.Walk(raw)
			for w.Next() {
			}
			if w.Err() != nil || &raw[0] != &buf[:1][0] {
				t.Error("not decoded in place, or", w.Err())
			}
		}
	})
	// Under the race detector a sync.Pool drops a quarter of its objects, and a decoder has some 30 allocations.
	if limit := float64(len(blocks) * 64); n > limit {
		t.Errorf("%v allocations for %d blocks of %d records", n, len(blocks), 10_000)
	}
}

// TestDecodeInPlace checks which bytes of a buffer Decode writes: a table decodes into a slab with spare bytes at its end.
func TestDecodeInPlace(t *testing.T) {
	file := snapshotOf(t, rows(3000), 0)
	blocks, _ := blocksOf(t, file)
	s := blocks[0]
	for _, spare := range []int{0, 1, DecodeSlack, DecodeSlack + 1, 200_000} {
		buf := bytes.Repeat([]byte{0xee}, s.RawBytes+spare)
		raw, err := s.Decode(buf[:0])
		if err != nil || len(raw) != s.RawBytes || cap(raw) != cap(buf) || &raw[0] != &buf[0] {
			t.Fatalf("%d spare bytes: %v, %d bytes of %d", spare, err, len(raw), cap(raw))
		}
		if tail := buf[min(len(buf), s.RawBytes+DecodeSlack):]; bytes.Count(tail, []byte{0xee}) != len(tail) {
			t.Errorf("%d spare bytes: Decode wrote past RawBytes+DecodeSlack", spare)
		}
	}
	if raw, err := s.Decode(make([]byte, s.RawBytes-1)); err != nil || len(raw) != s.RawBytes {
		t.Errorf("into too small a buffer: %v", err)
	}
}

// TestDecodeElsewhere decodes blocks on other goroutines than the Reader's, as a load does.
func TestDecodeElsewhere(t *testing.T) {
	rs := rows(20_000)
	r, err := NewReader(bytes.NewReader(snapshotOf(t, rs, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum Tally
	for {
		s, err := r.Next(nil)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			raw, err := s.Decode(nil)
			w := s.Walk(raw)
			for w.Next() {
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Merge(w.Tally())
			if err != nil || w.Err() != nil {
				t.Error(err, w.Err())
			}
		})
	}
	wg.Wait()
	if err := r.Check(sum); err != nil || sum.Entries != 20_000 {
		t.Error(sum, err)
	}
	sum.State.Lo++
	if r.Check(sum) == nil {
		t.Error("Check accepts another state")
	}
}

// TestRecordsStop checks that a consumer may stop at any record.
func TestRecordsStop(t *testing.T) {
	file, entries, _ := golden(t, "snapshot-partitions")
	for stop := range entries {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range r.Records() {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Errorf("%d records, want %d", n, stop+1)
		}
	}
}
