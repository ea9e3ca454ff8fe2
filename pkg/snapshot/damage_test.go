package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"freshet.dev/pkg/dataset"
)

// small returns files of a few hundred bytes and their entries, with every layout of the goldens.
func small(t *testing.T, f func(t *testing.T, file []byte, entries []dataset.Record)) {
	for name := range goldens {
		t.Run(name, func(t *testing.T) {
			file, entries, _ := golden(t, name)
			f(t, file, entries)
		})
	}
}

// mustRefuse checks that a Reader refuses the damaged file, and that the records read before are the first of the intact
// file. It returns the error.
func mustRefuse(t *testing.T, damaged []byte, entries []dataset.Record, what string) error {
	t.Helper()
	got, err := readAll(bytes.NewReader(damaged))
	if err == nil {
		t.Fatalf("%s: accepted", what)
	}
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
		t.Fatalf("%s: %v; want ErrCorrupt or ErrFormat", what, err)
	}
	if len(got) > len(entries) || !sameRecords(got, entries[:len(got)]) {
		t.Fatalf("%s: %v, but only after reading %v", what, err, got)
	}
	return err
}

// TestEveryBit flips each bit of small files in turn.
func TestEveryBit(t *testing.T) {
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		blocks, _ := blocksOf(t, file)
		for bit := range len(file) * 8 {
			before := 0
			for _, s := range blocks[:blocksBefore(blocks, int64(bit/8))] {
				before += s.Entries
			}
			file[bit/8] ^= 1 << (bit % 8)
			// The Reader yields exactly the entries of the blocks before the one with the bit.
			mustRefuse(t, file, entries[:before], fmt.Sprintf("bit %d of byte %d flipped", bit%8, bit/8))
			file[bit/8] ^= 1 << (bit % 8)
		}
		if _, _, err := verify(bytes.NewReader(file)); err != nil {
			t.Fatal("the test changed the file:", err)
		}
	})
}

// TestRandomBitsOfLargeFile flips 10,000 bits of a file of some megabytes, one at a time. The Reader must return the blocks
// before the flipped bit unchanged and must not return the block with the bit, so that no record of it can be read.
func TestRandomBitsOfLargeFile(t *testing.T) {
	const flips = 10_000
	file := snapshotOf(t, rows(80_000), 0)
	if len(file) < 2<<20 {
		t.Fatalf("the large file has %d bytes", len(file))
	}
	blocks, _ := blocksOf(t, file)
	rng := rand.New(rand.NewPCG(6, 6))
	bits := make([]int, flips)
	for i := range bits {
		bits[i] = rng.IntN(len(file) * 8)
	}
	var wg sync.WaitGroup
	for part := range slices.Chunk(bits, flips/4) {
		wg.Go(func() {
			damaged := slices.Clone(file)
			var bufs [2][]byte
			for _, bit := range part {
				damaged[bit/8] ^= 1 << (bit % 8)
				n, err := countIntact(damaged, blocks, &bufs)
				if before := blocksBefore(blocks, int64(bit/8)); n != before || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
					t.Errorf("bit %d of byte %d flipped: the Reader returns %d blocks, %d precede the bit: %v", bit%8, bit/8, n, before, err)
				}
				damaged[bit/8] ^= 1 << (bit % 8)
			}
		})
	}
	wg.Wait()
}

// countIntact reads file until the Reader fails, and returns the number of blocks. It fails if a block has changed.
func countIntact(file []byte, blocks []Stored, bufs *[2][]byte) (int, error) {
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		s, err := r.Next(bufs[n%2])
		if err != nil {
			// Comparing only the last block is enough, because Next treats all blocks alike; this runs 10,000 times.
			if n > 0 && !bytes.Equal(bufs[(n-1)%2], blocks[n-1].Bytes) {
				return n, fmt.Errorf("block %d has other bytes", n-1)
			}
			return n, err
		}
		bufs[n%2] = s.Bytes
		if want := blocks[n]; s.Offset != want.Offset || s.Partition != want.Partition || s.RawBytes != want.RawBytes ||
			s.Entries != want.Entries || s.rawSum != want.rawSum || s.Header != want.Header {
			return n, fmt.Errorf("block %d is another", n)
		}
	}
}

// blocksBefore returns the number of blocks that end at or before the byte at off.
func blocksBefore(blocks []Stored, off int64) int {
	if off < headerBytes {
		return 0
	}
	for i, s := range blocks {
		if off < s.Offset+prefixBytes+int64(len(s.Bytes)) {
			return i
		}
	}
	return len(blocks)
}

// TestTruncated cuts small files at each byte, with inputs that end in the usual way and in others.
func TestTruncated(t *testing.T) {
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		for n := range file {
			if err := mustRefuse(t, file[:n], entries, fmt.Sprintf("cut at byte %d", n)); !errors.Is(err, ErrTruncated) {
				t.Fatalf("cut at byte %d: %v; want ErrTruncated", n, err)
			}
			for name, src := range map[string]io.Reader{
				"one byte at a time": iotest.OneByteReader(bytes.NewReader(file[:n])),
				"data with EOF":      iotest.DataErrReader(bytes.NewReader(file[:n])),
			} {
				if _, _, err := verify(src); !errors.Is(err, ErrTruncated) {
					t.Fatalf("cut at byte %d, %s: %v", n, name, err)
				}
			}
			broken := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(errDisk))
			if _, _, err := verify(broken); !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
				t.Fatalf("input that fails at byte %d: %v", n, err)
			}
		}
	})
}

// TestAppended appends bytes to a file.
func TestAppended(t *testing.T) {
	small(t, func(t *testing.T, file []byte, entries []dataset.Record) {
		for b := range 256 {
			mustRefuse(t, append(slices.Clone(file), byte(b)), entries, fmt.Sprintf("byte %02x appended", b))
		}
		mustRefuse(t, append(slices.Clone(file), file...), entries, "the file twice")
		broken := io.MultiReader(bytes.NewReader(file), iotest.ErrReader(errDisk))
		if _, _, err := verify(broken); !errors.Is(err, errDisk) {
			t.Fatalf("input that fails at its end: %v", err)
		}
		for _, src := range []io.Reader{
			iotest.OneByteReader(bytes.NewReader(file)),
			iotest.DataErrReader(bytes.NewReader(file)),
			iotest.HalfReader(bytes.NewReader(file)),
		} {
			if got, err := readAll(src); err != nil || !sameRecords(got, entries) {
				t.Fatalf("a whole file in reads of other sizes: %v, %v", got, err)
			}
		}
	})
}

// TestMovedParts changes files in ways that leave the checksum of every part right.
func TestMovedParts(t *testing.T) {
	file, entries, _ := golden(t, "snapshot-partitions")
	blocks, _ := blocksOf(t, file)
	at := func(i int) int64 {
		if i == len(blocks) {
			return blocks[i-1].Offset + prefixBytes + int64(len(blocks[i-1].Bytes))
		}
		return blocks[i].Offset
	}
	block := func(i int) []byte { return file[at(i):at(i+1)] }
	head, foot := file[:at(0)], file[at(3):]
	other, _, _ := golden(t, "snapshot")
	for name, c := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"a block left out":         {[][]byte{head, block(0), block(1), foot}, "the table has 3 blocks, the file has 2"},
		"the first block left out": {[][]byte{head, block(1), block(2), foot}, "the table has 3 blocks, the file has 2"},
		"two blocks swapped":       {[][]byte{head, block(1), block(0), block(2), foot}, "the block before has partition 1"},
		"a block twice":            {[][]byte{head, block(0), block(0), block(1), block(2), foot}, "the block before has partition 0"},
		"no blocks":                {[][]byte{head, foot}, "the table has 3 blocks, the file has 0"},
		"another file's footer": {
			[][]byte{head, block(0), other[len(other)-rowBytes-tagBytes-totalsBytes-trailerBytes:]}, "the table does not agree",
		},
		"another file's header": {[][]byte{other[:headerBytes], block(0), block(1), block(2), foot}, "partition"},
		"a second header":       {[][]byte{head, head, block(0), block(1), block(2), foot}, "neither a block nor the footer"},
		"a second footer":       {[][]byte{head, block(0), block(1), block(2), foot, foot}, "more bytes follow"},
	} {
		damaged := bytes.Join(c.parts, nil)
		_, err := readAll(bytes.NewReader(damaged))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if got, err := readAll(bytes.NewReader(file)); err != nil || !sameRecords(got, entries) {
		t.Error(err)
	}
}

// TestErrorStays checks that a Reader returns the same error again after a failure, and io.EOF again after the end.
func TestErrorStays(t *testing.T) {
	file, _, _ := golden(t, "snapshot-partitions")
	for name, c := range map[string]struct {
		flip int
		want error
	}{"whole": {-1, io.EOF}, "damaged": {60, ErrCorrupt}} {
		damaged := slices.Clone(file)
		if c.flip >= 0 {
			damaged[c.flip] ^= 1
		}
		r, err := NewReader(bytes.NewReader(damaged))
		for err == nil {
			_, err = r.Next(nil)
		}
		if _, again := r.Next(nil); again != err || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, then %v", name, err, again)
		}
	}
}

// TestExpect checks that a Reader refuses an intact file that is not the expected one.
func TestExpect(t *testing.T) {
	file, _, totals := golden(t, "snapshot")
	right := dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes}
	for name, c := range map[string]struct {
		object dataset.Object
		ok     bool
	}{
		"the object":  {right, true},
		"nothing":     {dataset.Object{}, true},
		"only size":   {dataset.Object{Bytes: right.Bytes}, true},
		"only digest": {dataset.Object{Digest: right.Digest}, true},
		"smaller":     {dataset.Object{Digest: right.Digest, Bytes: right.Bytes - 1}, false},
		"far smaller": {dataset.Object{Bytes: 100}, false},
		"larger":      {dataset.Object{Digest: right.Digest, Bytes: right.Bytes + 1}, false},
		"another":     {dataset.Object{Digest: dataset.Digest{1}, Bytes: right.Bytes}, false},
	} {
		_, _, err := verify(bytes.NewReader(file), Expect(c.object))
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
