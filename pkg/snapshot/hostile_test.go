package snapshot

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// Bounds of what reading may allocate in addition to a multiple of the input's length: the buffers of a first block, and
// a decoder for each decoded block, because a sync.Pool drops some under the race detector.
const (
	fixedAlloc   = 2 << 20
	decoderAlloc = 256 << 10
)

// allocated returns the number of bytes that f allocates. Nothing else may run concurrently.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// fixChecksums returns file with every checksum that it can locate corrected, so that a Reader gets to the other faults.
// It also copies the blocks' fields to the footer's rows if the footer has as many rows as blocks.
func fixChecksums(file []byte) []byte {
	file = slices.Clone(file)
	if len(file) < headerBytes {
		return file
	}
	copy(file, magic)
	le.PutUint64(file[24:], xxh3.Hash(file[:24]))
	off := headerBytes
	var rows []byte
	for len(file)-off >= prefixBytes && le.Uint32(file[off:]) == blockTag {
		b := file[off:]
		stored := int(le.Uint32(b[8:]))
		body := b[prefixBytes:]
		if whole := stored <= len(body); whole {
			body = body[:stored]
			le.PutUint64(b[24:], xxh3.Hash(body))
			if raw, err := decodeAnything(body); err == nil {
				le.PutUint64(b[32:], xxh3.Hash(raw))
			}
		}
		le.PutUint64(b[40:], xxh3.Hash(b[:40]))
		p, _ := parsePrefix(b[:prefixBytes])
		rows = appendRow(rows, int64(off), p)
		off = min(off+prefixBytes+stored, len(file))
	}
	foot := file[off:]
	if length := tagBytes + len(rows) + totalsBytes; len(foot) >= length+trailerBytes && le.Uint32(foot) == footerTag {
		if int(le.Uint32(foot[4:])) == len(rows)/rowBytes {
			copy(foot[tagBytes:], rows)
		}
		copy(foot[length:], appendTrailer(nil, uint64(length), xxh3.Hash(foot[:length])))
	}
	return file
}

func decodeAnything(frame []byte) ([]byte, error) {
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	return d.DecodeAll(frame, make([]byte, 0, 1<<20))
}

func put32(off int, v uint32) func([]byte) { return func(b []byte) { le.PutUint32(b[off:], v) } }
func put64(off int, v uint64) func([]byte) { return func(b []byte) { le.PutUint64(b[off:], v) } }
func putByte(off int, v byte) func([]byte) { return func(b []byte) { b[off] = v } }

// TestHostileFields sets each field to values that no Writer writes, with all checksums right. A Reader refuses such a
// file with a message that names the field, and allocates nothing of a size that the file claims.
func TestHostileFields(t *testing.T) {
	const block, body = headerBytes, headerBytes + prefixBytes // of the first block
	foot := func(file []byte) int { return len(file) - trailerBytes - totalsBytes - tagBytes - rowBytes }
	total := func(i int, v uint64) func([]byte) {
		return func(b []byte) { le.PutUint64(b[len(b)-trailerBytes-totalsBytes+8*i:], v) }
	}
	for name, c := range map[string]struct {
		file string
		set  func(b []byte)
		want error
		text string
	}{
		"newer format":              {"snapshot", putByte(8, 2), ErrFormat, "format version 2"},
		"unknown kind":              {"snapshot", putByte(9, 3), ErrFormat, "kind 3"},
		"no kind":                   {"snapshot", putByte(9, 0), ErrFormat, "kind 0"},
		"too many partitions":       {"snapshot", putByte(10, 25), ErrCorrupt, "25 partition bits"},
		"reserved in header":        {"snapshot", putByte(15, 1), ErrCorrupt, "reserved bytes of the header"},
		"fewer partitions":          {"snapshot-partitions", putByte(10, 1), ErrCorrupt, "hash belongs to another partition"},
		"more partitions":           {"snapshot-partitions", putByte(10, 3), ErrCorrupt, "hash belongs to another partition"},
		"another seed":              {"snapshot", put64(16, 1), ErrCorrupt, "not in the order of"},
		"removals in a snapshot":    {"delta", putByte(9, byte(Snapshot)), ErrCorrupt, "a snapshot has no removals"},
		"unknown tag":               {"snapshot", put32(block, 7), ErrCorrupt, "neither a block nor the footer"},
		"partition out of range":    {"snapshot", put32(block+4, 1), ErrCorrupt, "only 1 partitions"},
		"highest partition":         {"snapshot-partitions", put32(block+4, math.MaxUint32), ErrCorrupt, "only 4 partitions"},
		"partition of another":      {"snapshot-partitions", put32(block+4, 1), ErrCorrupt, "hash belongs to another partition"},
		"all the stored bytes":      {"snapshot", put32(block+8, math.MaxUint32), ErrCorrupt, "4294967295 stored bytes"},
		"no stored bytes":           {"snapshot", put32(block+8, 0), ErrCorrupt, "says 331 raw bytes, the block has 0"},
		"no raw bytes":              {"snapshot", put32(block+12, 0), ErrCorrupt, "says 0 raw bytes;"},
		"all the raw bytes":         {"snapshot", put32(block+12, math.MaxUint32), ErrCorrupt, "says 4294967295 raw bytes;"},
		"raw bytes over the limit":  {"snapshot", put32(block+12, MaxBlockRaw+1), ErrCorrupt, "says 67108865 raw bytes;"},
		"raw bytes not backed":      {"snapshot", put32(block+12, MaxBlockRaw), ErrCorrupt, "stored bytes for 67108864 raw bytes"},
		"more raw bytes":            {"snapshot", put32(block+12, 64<<10), ErrCorrupt, "says 65536 raw bytes, the block has"},
		"fewer raw bytes":           {"snapshot", put32(block+12, 300), ErrCorrupt, "zstd"},
		"no entries":                {"snapshot", put32(block+16, 0), ErrCorrupt, "says 0 entries in"},
		"too many entries":          {"snapshot", put32(block+16, math.MaxUint32), ErrCorrupt, "says 4294967295 entries in"},
		"one entry more":            {"snapshot", put32(block+16, 8), ErrCorrupt, "says 8 entries, the block has 7"},
		"one entry fewer":           {"snapshot", put32(block+16, 6), ErrCorrupt, "says 6 entries, the block has 7"},
		"reserved in prefix":        {"snapshot", put32(block+20, 1), ErrCorrupt, "reserved bytes of the prefix"},
		"no zstd frame":             {"snapshot", put32(body, 7), ErrCorrupt, "zstd: invalid input: magic number mismatch"},
		"a large frame content":     {"snapshot-padded", put32(body+5, math.MaxUint32), ErrCorrupt, "zstd"},
		"a dictionary":              {"snapshot", func(b []byte) { b[body+4] |= 3 }, ErrCorrupt, "zstd"},
		"a skippable frame too big": {"snapshot-padded", func(b []byte) { le.PutUint32(b[bytes.Index(b, []byte{0x50, 0x2a, 0x4d, 0x18})+4:], math.MaxUint32) }, ErrCorrupt, "zstd"},
		"a removal's length":        {"delta", putByte(body+9+11, 0xff), ErrCorrupt, "not a record"},
		"all the blocks":            {"snapshot", func(b []byte) { le.PutUint32(b[foot(b)+4:], math.MaxUint32) }, ErrCorrupt, "the table has 4294967295 blocks, the file has 1"},
		"one entry more in all":     {"snapshot", total(0, 8), ErrCorrupt, "say 8 entries and 331 raw bytes, the blocks"},
		"removals in all":           {"snapshot", total(1, 1), ErrCorrupt, "1 removals in a snapshot"},
		"too many removals":         {"delta", total(1, 6), ErrCorrupt, "6 of 5 entries are removals"},
		"fewer removals":            {"delta", total(1, 1), ErrCorrupt, "1 removals"},
		"raw bytes in all":          {"snapshot", total(2, 1), ErrCorrupt, "and 1 raw bytes, the blocks"},
		"too much payload":          {"snapshot", total(3, math.MaxUint64), ErrCorrupt, "payload bytes in"},
		"payload":                   {"snapshot", total(3, 1), ErrCorrupt, "the blocks have 7"},
		"records of the state":      {"snapshot", total(4, 8), ErrCorrupt, "a state of 8 records"},
		"high half of the state":    {"snapshot", total(5, 1), ErrCorrupt, "the blocks have 7"},
		"low half of the state":     {"snapshot", total(6, 1), ErrCorrupt, "the blocks have 7"},
		"a snapshot's base":         {"snapshot", total(7, 1), ErrCorrupt, "base state"},
		"a delta's base":            {"delta", total(7, 1), ErrCorrupt, "2 removals from a base of 1 records"},
		"a delta's endless base":    {"delta", total(7, math.MaxUint64), ErrCorrupt, "cannot lead"},
		"a delta's endless state":   {"delta", total(4, math.MaxUint64), ErrCorrupt, "cannot lead"},
		"an empty delta's state":    {"delta-empty", total(5, 1), ErrCorrupt, "no entries, but they lead"},
	} {
		t.Run(name, func(t *testing.T) {
			file, _, _ := golden(t, c.file)
			c.set(file)
			file = fixChecksums(file)
			var err error
			n := allocated(func() { _, _, err = verify(bytes.NewReader(file)) })
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v with %q", err, c.want, c.text)
			}
			if n > 1<<20 {
				t.Errorf("reading %d bytes allocated %d", len(file), n)
			}
		})
	}
}

// TestHostileRows changes each byte of the footer's table, and corrects the footer's checksum: the table must agree with
// the blocks.
func TestHostileRows(t *testing.T) {
	file, _, _ := golden(t, "snapshot-partitions")
	length := int(le.Uint64(file[len(file)-trailerBytes:]))
	foot := file[len(file)-trailerBytes-length:]
	for i := tagBytes; i < length-totalsBytes; i++ {
		foot[i] ^= 1
		copy(foot[length:], appendTrailer(nil, uint64(length), xxh3.Hash(foot[:length])))
		if _, _, err := verify(bytes.NewReader(file)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "the table does not agree") {
			t.Errorf("byte %d of the table: %v", i-tagBytes, err)
		}
		foot[i] ^= 1
	}
}

// TestRawChecksum checks that Decode verifies the checksum of the raw bytes.
func TestRawChecksum(t *testing.T) {
	file, _, _ := golden(t, "snapshot")
	prefix := file[headerBytes:][:prefixBytes]
	prefix[32] ^= 1
	le.PutUint64(prefix[40:], xxh3.Hash(prefix[:40]))
	got, err := readAll(bytes.NewReader(file))
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "raw bytes do not match") || len(got) != 0 {
		t.Errorf("read %d records, %v", len(got), err)
	}
}

// TestHostileSizes checks that a block that claims the largest sizes costs memory only as its bytes arrive.
func TestHostileSizes(t *testing.T) {
	header := Header{Kind: Snapshot, Seed: testSeed}.append(nil)
	for _, body := range []int{0, 1, 1000, 100_000, firstAlloc, 2 << 20} {
		p := prefix{stored: MaxBlockRaw, raw: MaxBlockRaw, entries: 1}
		file := append(p.append(slices.Clone(header)), make([]byte, body)...)
		var err error
		n := allocated(func() { _, _, err = verify(bytes.NewReader(file)) })
		if !errors.Is(err, ErrTruncated) || n > 4*len(file)+1<<20 {
			t.Errorf("%d of %d stored bytes: %v, %d bytes allocated", body, p.stored, err, n)
		}
		_, _, err = verify(bytes.NewReader(file), Expect(dataset.Object{Bytes: int64(len(file))}))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "remain of the object") {
			t.Errorf("%d of %d stored bytes, size known: %v", body, p.stored, err)
		}
	}
}

// TestZipBomb checks that stored bytes bound raw bytes where zstd alone would not: a MiB of zeros is a frame of some 60
// bytes. A block at the bound is decoded, and refused as too long.
func TestZipBomb(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	frame := e.EncodeAll(make([]byte, 1<<20), nil)
	for _, raw := range []int{1 << 20, maxRatio*len(frame) + freeRaw + 1, maxRatio*len(frame) + freeRaw} {
		var b bytes.Buffer
		o := newOutput(&b)
		o.write(Header{Kind: Snapshot}.append(nil))
		o.block(prefix{stored: uint32(len(frame)), raw: uint32(raw), entries: 1, storedSum: xxh3.Hash(frame)}, frame)
		if _, err := o.footer(Totals{}); err != nil {
			t.Fatal(err)
		}
		n := allocated(func() { _, _, err = verify(&b) })
		if !errors.Is(err, ErrCorrupt) || n > 1<<20 {
			t.Errorf("%d bytes for %d raw: %v, %d bytes allocated", len(frame), raw, err, n)
		}
	}
}
