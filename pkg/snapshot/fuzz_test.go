package snapshot

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// FuzzReader reads any bytes as a file. With fix, it first corrects the checksums, so that the fuzzer gets past them.
// Invariants: the Reader fails with an error of this package, or a Writer writes the same totals from the entries; and
// the input bounds the allocations.
func FuzzReader(f *testing.F) {
	for name := range goldens {
		file, _, _ := golden(f, name)
		f.Add(file, false)
		f.Add(file, true)
		f.Add(file[:len(file)/2], true)
	}
	f.Fuzz(func(t *testing.T, file []byte, fix bool) {
		if fix {
			file = fixChecksums(file)
		}
		var h Header
		var totals Totals
		var err error
		blocks := bytes.Count(file, []byte("BLCK"))
		n := allocated(func() { h, totals, err = verify(bytes.NewReader(file)) })
		if most := 100*len(file) + blocks*decoderAlloc + fixedAlloc; n > most {
			t.Errorf("reading %d bytes with %d blocks allocated %d, the most is %d", len(file), blocks, n, most)
		}
		entries, again := readAll(bytes.NewReader(file))
		if (again == nil) != (err == nil) {
			t.Fatalf("Verify: %v; Records: %v", err, again)
		}
		checkEntries(t, h, entries)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		mustRewrite(t, h, totals, entries)
	})
}

// checkEntries checks that entries from a Reader are in order and valid for a file of the given kind.
func checkEntries(t *testing.T, h Header, entries []dataset.Record) {
	for i, r := range entries {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		if r.Removed && h.Kind == Snapshot {
			t.Fatalf("entry %d of a snapshot is a removal", i)
		}
		if i > 0 && compareKeys(h.Seed, entries[i-1].Key, r.Key) >= 0 {
			t.Fatalf("entry %d is out of order", i)
		}
	}
}

// mustRewrite checks that a Writer writes a file with the same totals from the entries.
func mustRewrite(t *testing.T, h Header, want Totals, entries []dataset.Record) {
	cfg := WriterConfig{Kind: h.Kind, Seed: h.Seed, Base: want.Base}
	_, got := write(t, cfg, entries, want.State)
	got.FileBytes, got.Digest = want.FileBytes, want.Digest
	if got != want {
		t.Fatalf("a file with totals %+v is written again with %+v", want, got)
	}
}

// FuzzEntries puts any bytes into an otherwise valid file, as the entries of one block, and compares the Reader's verdict
// with a simple implementation of the rules.
func FuzzEntries(f *testing.F) {
	for name := range goldens {
		file, _, _ := golden(f, name)
		blocks, _ := blocksOf(f, file)
		for _, s := range blocks {
			raw, err := s.Decode(nil)
			if err != nil {
				f.Fatal(err)
			}
			if len(raw) > 1<<10 {
				continue // a seed input of this size only slows the fuzzer down
			}
			f.Add(raw, s.Header.Kind == Delta, s.Header.Bits, uint32(s.Partition), uint32(s.Entries))
			f.Add(append(raw, raw...), s.Header.Kind == Delta, s.Header.Bits, uint32(s.Partition), uint32(2*s.Entries))
		}
	}
	first, second := dataset.AppendRecord(nil, up(tied[0], "1")), dataset.AppendRecord(nil, up(tied[1], "2"))
	for _, pair := range [][][]byte{{first, second}, {second, first}, {first, first}} { // of one hash
		f.Add(bytes.Join(pair, nil), false, uint8(0), uint32(0), uint32(2))
	}
	f.Add([]byte{0, 0}, false, uint8(0), uint32(0), uint32(1)) // an empty key
	f.Add([]byte{1}, true, uint8(0), uint32(0), uint32(1))
	f.Fuzz(func(t *testing.T, raw []byte, delta bool, bits uint8, partition, entries uint32) {
		h := Header{Kind: Snapshot, Bits: bits % (MaxBits + 1), Seed: testSeed}
		if delta {
			h.Kind = Delta
		}
		partition &= 1<<h.Bits - 1
		want, ok := plainEntries(h, partition, raw)
		ok = ok && len(want) == int(entries) && entries > 0

		var totals Totals
		for _, r := range want {
			totals.Entries++
			totals.PayloadBytes += uint64(len(r.Key) + len(r.Value))
			if r.Removed {
				totals.Removals++
			}
		}
		totals.RawBytes, totals.State = uint64(len(raw)), stateOf(h.Seed, want)
		if delta { // any states that the entries can lead from and to
			totals.Base = dataset.Checksum{Records: totals.Removals}
			totals.State = dataset.Checksum{Records: totals.Entries - totals.Removals}
		}
		frame := compress(raw, nil)
		var b bytes.Buffer
		o := newOutput(&b)
		o.write(h.append(nil))
		o.block(prefix{
			partition: partition, stored: uint32(len(frame)), raw: uint32(len(raw)), entries: entries,
			storedSum: xxh3.Hash(frame), rawSum: xxh3.Hash(raw),
		}, frame)
		if _, err := o.footer(totals); err != nil {
			t.Fatal(err)
		}
		got, err := readAll(&b)
		if ok != (err == nil) {
			t.Fatalf("the entries are right: %t; the Reader says %v", ok, err)
		}
		if len(got) > len(want) || !sameRecords(got, want[:len(got)]) || ok && len(got) != len(want) {
			t.Fatalf("read %v, want %v", got, want)
		}
	})
}

// plainEntries returns the entries of raw up to the first invalid one, and whether all are valid.
func plainEntries(h Header, partition uint32, raw []byte) (rs []dataset.Record, ok bool) {
	for len(raw) > 0 {
		r, n, err := dataset.DecodeRecord(raw)
		if err != nil || r.Removed && h.Kind == Snapshot {
			return rs, false
		}
		if h.Bits > 0 && dataset.Hash(h.Seed, r.Key)>>(64-h.Bits) != uint64(partition) {
			return rs, false
		}
		if len(rs) > 0 && compareKeys(h.Seed, rs[len(rs)-1].Key, r.Key) >= 0 {
			return rs, false
		}
		rs, raw = append(rs, r), raw[n:]
	}
	return rs, true
}

// TestHeaderBytes checks that NewReader reads the header and does not wait for more.
func TestHeaderBytes(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		w.Write(Header{Kind: Delta, Bits: 3, Seed: 9}.append(nil))
		w.CloseWithError(errDisk)
	}()
	got, err := NewReader(r)
	if err != nil || got.Header() != (Header{Delta, 3, 9}) {
		t.Fatalf("%+v, %v", got.Header(), err)
	}
	if _, err := got.Next(nil); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}
