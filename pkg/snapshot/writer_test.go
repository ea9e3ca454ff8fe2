package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"freshet.dev/pkg/dataset"
)

func newTestWriter(t *testing.T, w io.Writer, cfg WriterConfig) *Writer {
	t.Helper()
	wr, err := NewWriter(w, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wr.Abort)
	return wr
}

func TestWriterConfig(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  WriterConfig
		want string
	}{
		"no kind":            {WriterConfig{}, "Kind is Snapshot or Delta"},
		"snapshot with base": {WriterConfig{Kind: Snapshot, Base: dataset.Checksum{Records: 1}}, "only a delta starts from one"},
		"negative size":      {WriterConfig{Kind: Snapshot, RawBytes: -1}, "RawBytes is -1"},
		"negative workers":   {WriterConfig{Kind: Snapshot, Workers: -1}, "Workers -1"},
	} {
		if _, err := NewWriter(io.Discard, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestBits(t *testing.T) {
	for _, c := range []struct {
		raw  int64
		bits uint8
	}{
		{0, 0},
		{1, 0},
		{maxTarget, 0},
		{maxTarget + 2, 1},
		{118e6, 9},
		{1180e6, 12},
		{1 << 62, MaxBits},
	} {
		if got := bitsFor(c.raw); got != c.bits {
			t.Errorf("bitsFor(%d) = %d, want %d", c.raw, got, c.bits)
		}
	}
}

// TestBlockSizes checks that the blocks of datasets of usual sizes have about the target size.
func TestBlockSizes(t *testing.T) {
	for _, n := range []int{5_000, 33_000} {
		blocks, raw := blocksOf(t, snapshotOf(t, rows(n), 0))
		if avg := raw / int64(len(blocks)); avg < 128<<10 || avg > 512<<10 {
			t.Errorf("%d records: %d blocks of %d bytes on average", n, len(blocks), avg)
		}
		for _, s := range blocks {
			if s.RawBytes < 100<<10 || s.RawBytes > 600<<10 {
				t.Errorf("%d records: partition %d has %d bytes", n, s.Partition, s.RawBytes)
			}
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	rs := sorted(testSeed, []dataset.Record{up("a", "1"), up("b", "2"), up("c", "3")})
	var b bytes.Buffer
	w := newTestWriter(t, &b, WriterConfig{Kind: Snapshot, Seed: testSeed})
	for i, c := range []struct {
		r    dataset.Record
		want error
	}{
		{rs[1], nil},
		{rs[1], ErrOrder},
		{rs[0], ErrOrder},
		{dataset.Record{}, dataset.ErrRecord},
		{up(strings.Repeat("k", dataset.MaxKeyBytes+1), ""), dataset.ErrRecord},
		{up("k", strings.Repeat("v", dataset.MaxValueBytes+1)), dataset.ErrRecord},
		{dataset.Record{Key: rs[2].Key, Removed: true}, ErrRemoval},
		{rs[2], nil}, // a refused record has no effect
	} {
		if err := w.Add(c.r); !errors.Is(err, c.want) {
			t.Errorf("Add %d: %v; want %v", i, err, c.want)
		}
	}
	for _, keys := range [][2]string{{tied[1], tied[0]}, {tied[0], tied[0]}} { // one hash: the keys decide
		w := newTestWriter(t, io.Discard, WriterConfig{Kind: Snapshot, Seed: testSeed})
		if err := errors.Join(w.Add(up(keys[0], "")), w.Add(up(keys[1], ""))); !errors.Is(err, ErrOrder) {
			t.Errorf("Add of %q: %v", keys, err)
		}
	}
	if _, err := w.CloseDelta(dataset.Checksum{}); !errors.Is(err, ErrFormat) {
		t.Errorf("CloseDelta of a snapshot: %v", err)
	}
	if err := w.Add(rs[2]); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after close: %v", err)
	}
	if _, err := w.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, _, err := verify(&b); !errors.Is(err, ErrTruncated) {
		t.Errorf("Verify of a file that was not closed: %v", err)
	}

	b.Reset()
	w = newTestWriter(t, &b, WriterConfig{Kind: Snapshot, Seed: testSeed})
	if err := errors.Join(w.Add(rs[1]), w.Add(rs[2])); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(&b); err != nil || !sameRecords(got, rs[1:]) {
		t.Errorf("read %v, %v", got, err)
	}

	w = newTestWriter(t, io.Discard, WriterConfig{Kind: Delta})
	if _, err := w.Close(); !errors.Is(err, ErrFormat) {
		t.Errorf("Close of a delta: %v", err)
	}
}

// TestDeltaStates checks that CloseDelta refuses a delta whose entries cannot lead from its base to its state.
func TestDeltaStates(t *testing.T) {
	rs := []dataset.Record{up("a", "1"), up("b", "2"), gone("c")}
	for _, c := range []struct {
		entries      []dataset.Record
		base, result uint64
		ok           bool
	}{
		{rs, 1, 2, true},  // both added
		{rs, 2, 2, true},  // one added
		{rs, 3, 2, true},  // none added
		{rs, 3, 1, false}, // fewer removals than the state needs
		{rs, 1, 3, false}, // fewer upserts than the state needs
		{rs, 0, 2, false}, // the base has no record to remove
		{nil, 5, 5, true}, // the states of an empty delta are equal
		{nil, 5, 6, false},
	} {
		w := newTestWriter(t, io.Discard, WriterConfig{Kind: Delta, Base: dataset.Checksum{Records: c.base}})
		for _, r := range sorted(0, c.entries) {
			if err := w.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.CloseDelta(dataset.Checksum{Records: c.result}); (err == nil) != c.ok {
			t.Errorf("%d entries from %d to %d records: %v", len(c.entries), c.base, c.result, err)
		}
	}
}

// TestEqualFiles checks that equal records make equal files, with any number of workers and after any use of the pooled
// encoders. A rollback then names an object that the store already has.
func TestEqualFiles(t *testing.T) {
	rs := rows(20_000)
	want, totals := write(t, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: rawBytes(rs), Workers: 1}, rs, dataset.Checksum{})
	for workers := range 5 {
		snapshotOf(t, rows(1000+workers), 0)
		got, again := write(t, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: rawBytes(rs), Workers: workers}, rs, dataset.Checksum{})
		if !bytes.Equal(got, want) || again != totals {
			t.Errorf("%d workers: another file", workers)
		}
	}
	if h, got, err := verify(bytes.NewReader(want)); err != nil || got != totals || h != (Header{Snapshot, 3, testSeed}) {
		t.Errorf("Verify: %v, %+v, %v; want %+v", h, got, err, totals)
	}
	if totals.State != stateOf(testSeed, rs) || totals.FileBytes != int64(len(want)) || totals.PayloadBytes != 116*20_000 {
		t.Errorf("totals %+v", totals)
	}
}

// failAfter is a writer that fails after n bytes, and must not be used after that.
type failAfter struct{ n int }

var errDisk = errors.New("no space left")

func (f *failAfter) Write(b []byte) (int, error) {
	if f.n < 0 {
		panic("written to after it had failed")
	}
	if f.n -= len(b); f.n < 0 {
		return len(b) / 2, errDisk
	}
	return len(b), nil
}

// TestWriteFails checks that an error of the output at any byte reaches the caller, at Close at the latest, and that no
// goroutine leaks (TestMain).
func TestWriteFails(t *testing.T) {
	rs := rows(10_000)
	size := len(snapshotOf(t, rs, 0))
	for n := 0; n < size; n += size/8 + 1 {
		w, err := NewWriter(&failAfter{n: n}, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: rawBytes(rs)})
		for i := 0; err == nil && i < len(rs); i++ {
			err = w.Add(rs[i])
		}
		if err == nil {
			_, err = w.Close()
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("output of %d bytes: %v", n, err)
		}
		if w != nil {
			w.Abort()
		}
	}
}

// TestLargeBlock fills one partition to the limit, as a RawBytes that is far too small does.
func TestLargeBlock(t *testing.T) {
	value := bytes.Repeat([]byte("0123456789abcdef"), dataset.MaxValueBytes/16)
	var rs []dataset.Record
	for i := range 70 {
		rs = append(rs, dataset.Record{Key: fmt.Appendf(nil, "%d", i), Value: value})
	}
	sorted(testSeed, rs)
	var b bytes.Buffer
	w := newTestWriter(t, &b, WriterConfig{Kind: Snapshot, Seed: testSeed, RawBytes: 1})
	n := 0
	for ; n < len(rs); n++ {
		if err := w.Add(rs[n]); err != nil {
			if !errors.Is(err, ErrBlockSize) || !strings.Contains(err.Error(), "RawBytes") {
				t.Fatal(err)
			}
			break
		}
	}
	if n != 63 {
		t.Fatalf("%d records of 1 MiB fit in one block, want 63", n)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if most := int(rawBytes(rs[:n])); b.Len() < minStored(most) || b.Len() > minStored(most)+1024 {
		t.Errorf("%d bytes of zeros are %d stored", most, b.Len())
	}
	if got, err := readAll(&b); err != nil || !sameRecords(got, rs[:n]) {
		t.Errorf("read %d records, %v", len(got), err)
	}
}

// TestIncompressible checks that a reader accepts the largest frame of random bytes.
func TestIncompressible(t *testing.T) {
	for _, n := range []int{1, 2, 3, 255, 256, 65_535, 131_072, 131_073, dataset.MaxValueBytes} {
		value := make([]byte, n)
		for i, x := 0, uint64(1); i < n; i++ {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			value[i] = byte(x >> 24)
		}
		file := snapshotOf(t, []dataset.Record{{Key: []byte("k"), Value: value}}, 0)
		if _, _, err := verify(bytes.NewReader(file)); err != nil {
			t.Errorf("%d random bytes: %v", n, err)
		}
	}
}

func TestPad(t *testing.T) {
	for raw := range 300 << 10 {
		n := minStored(raw)
		if raw > maxRatio*n+freeRaw || n > 0 && raw <= maxRatio*(n-1)+freeRaw {
			t.Fatalf("minStored(%d) = %d", raw, n)
		}
	}
	for have := range 100 {
		for want := range 100 {
			got := len(pad(make([]byte, have), want))
			if least := max(have, want); got < least || got != have && got > max(want, have+8) {
				t.Fatalf("pad of %d bytes to %d made %d", have, want, got)
			}
		}
	}
	for _, size := range []int{50_000, 65_000, 66_000, 80_000, 500_000} {
		rs := []dataset.Record{up("k", strings.Repeat("0", size))}
		file := snapshotOf(t, rs, 0)
		if got, err := readAll(bytes.NewReader(file)); err != nil || !sameRecords(got, rs) {
			t.Errorf("a value of %d zeros: %v", size, err)
		}
	}
}

func TestEmptySnapshot(t *testing.T) {
	file := snapshotOf(t, nil, 0)
	h, totals, err := verify(bytes.NewReader(file))
	if err != nil || h != (Header{Snapshot, 0, testSeed}) || cmp.Or(totals.Entries, totals.RawBytes, totals.PayloadBytes) != 0 {
		t.Errorf("%+v, %+v, %v", h, totals, err)
	}
}
