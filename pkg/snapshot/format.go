package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"freshet.dev/pkg/dataset"
)

// Kind is the kind of a file: a snapshot or a delta.
type Kind uint8

// The kinds of file.
const (
	Snapshot Kind = 1
	Delta    Kind = 2
)

// String returns "snapshot" or "delta".
func (k Kind) String() string {
	switch k {
	case Snapshot:
		return "snapshot"
	case Delta:
		return "delta"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// formatVersion is the format version that this package writes, and the only one that it reads.
const formatVersion = 1

// Limits of the format.
const (
	// MaxBits is the largest number of partition bits.
	MaxBits = 24
	// MaxBlockRaw bounds the encoded entries of one partition, in bytes.
	MaxBlockRaw = dataset.MaxGroupBytes
)

// Sizes of the parts of a file; see the package comment.
const (
	headerBytes  = 32
	prefixBytes  = 48
	rowBytes     = 32
	totalsBytes  = 80
	trailerBytes = 24
	tagBytes     = 8 // the tag of a block or of the footer, and the number after it
)

// Marks of the parts. The first byte of a file has its high bit set, so that neither an editor nor a transfer in text
// mode mistakes the file for text; the PNG specification, section 12.12, has the reasoning.
const (
	magic     = "\x8fFRESHET"
	endMagic  = "TEHSERF\x8f"
	blockTag  = uint32('B') | uint32('L')<<8 | uint32('C')<<16 | uint32('K')<<24
	footerTag = uint32('F') | uint32('O')<<8 | uint32('O')<<16 | uint32('T')<<24
)

// A block's raw bytes are at most maxRatio times its stored bytes plus freeRaw. This bounds a reader that allocates
// Stored.RawBytes by its input. Rows of real datasets compress 4 to 20 times; a Writer pads a block that compresses more.
const (
	maxRatio = 64
	freeRaw  = 64 << 10
)

// minStored returns the least number of stored bytes that a block of raw bytes may have.
func minStored(raw int) int { return max(0, raw-freeRaw+maxRatio-1) / maxRatio }

// maxStored returns the largest number. zstd adds 3 bytes to each 128 KiB that it cannot compress, and up to 18 to a frame.
func maxStored(raw int) int { return raw + raw>>10 + 64 }

var le = binary.LittleEndian

// Header is the header of a file.
type Header struct {
	Kind Kind
	// Bits is the number of leading bits of a hash that select a partition: the file has up to 1<<Bits blocks.
	Bits uint8
	// Seed is the seed of the dataset's hash.
	Seed uint64
}

func (h Header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, formatVersion, byte(h.Kind), h.Bits, 0, 0, 0, 0, 0)
	b = le.AppendUint64(b, h.Seed)
	return le.AppendUint64(b, xxh3.Hash(b[start:]))
}

// parseHeader parses b, which has headerBytes. Magic, version and checksum have the same offsets in every format
// version, so that parseHeader can distinguish damage from a newer version.
func parseHeader(b []byte) (Header, error) {
	if !bytes.HasPrefix(b, []byte(magic)) {
		return Header{}, fmt.Errorf("%w: the file begins with %q; a snapshot or delta begins with %q", errMagic, b[:8], magic)
	}
	if le.Uint64(b[24:]) != xxh3.Hash(b[:24]) {
		return Header{}, fmt.Errorf("%w: the header does not match its checksum", ErrCorrupt)
	}
	h := Header{Kind: Kind(b[9]), Bits: b[10], Seed: le.Uint64(b[16:])}
	switch {
	case b[8] != formatVersion:
		return Header{}, fmt.Errorf("%w: format version %d; this program reads %d, so upgrade it", ErrFormat, b[8], formatVersion)
	case h.Kind != Snapshot && h.Kind != Delta:
		return Header{}, fmt.Errorf("%w: %v; this program reads snapshots (1) and deltas (2)", ErrFormat, h.Kind)
	case h.Bits > MaxBits:
		return Header{}, fmt.Errorf("%w: the header has %d partition bits, the most is %d", ErrCorrupt, h.Bits, MaxBits)
	case !bytes.Equal(b[11:16], make([]byte, 5)):
		return Header{}, fmt.Errorf("%w: the reserved bytes of the header are not zero", ErrCorrupt)
	}
	return h, nil
}

// prefix is the prefix of a block.
type prefix struct {
	partition, stored, raw, entries uint32
	storedSum, rawSum               uint64
}

func (p prefix) append(b []byte) []byte {
	start := len(b)
	b = le.AppendUint32(b, blockTag)
	b = le.AppendUint32(b, p.partition)
	b = le.AppendUint32(b, p.stored)
	b = le.AppendUint32(b, p.raw)
	b = le.AppendUint32(b, p.entries)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, p.storedSum)
	b = le.AppendUint64(b, p.rawSum)
	return le.AppendUint64(b, xxh3.Hash(b[start:]))
}

// parsePrefix parses b, which has prefixBytes and begins with blockTag. problem describes the fault of an invalid prefix.
func parsePrefix(b []byte) (p prefix, problem string) {
	p = prefix{
		partition: le.Uint32(b[4:]), stored: le.Uint32(b[8:]), raw: le.Uint32(b[12:]), entries: le.Uint32(b[16:]),
		storedSum: le.Uint64(b[24:]), rawSum: le.Uint64(b[32:]),
	}
	switch {
	case le.Uint64(b[40:]) != xxh3.Hash(b[:40]):
		return p, "the prefix does not match its checksum"
	case le.Uint32(b[20:]) != 0:
		return p, "the reserved bytes of the prefix are not zero"
	case p.raw == 0 || p.raw > MaxBlockRaw:
		return p, fmt.Sprintf("the prefix says %d raw bytes; 1 to %d are allowed", p.raw, MaxBlockRaw)
	case int(p.stored) < minStored(int(p.raw)) || int(p.stored) > maxStored(int(p.raw)):
		return p, fmt.Sprintf("the prefix says %d stored bytes for %d raw bytes; %d to %d are allowed", p.stored, p.raw,
			minStored(int(p.raw)), maxStored(int(p.raw)))
	case p.entries == 0 || p.entries > p.raw/2: // an entry has at least a length and a key
		return p, fmt.Sprintf("the prefix says %d entries in %d raw bytes", p.entries, p.raw)
	}
	return p, ""
}

// appendRow appends the footer's row of the block with the prefix p at the given offset.
func appendRow(b []byte, offset int64, p prefix) []byte {
	b = le.AppendUint64(b, uint64(offset))
	b = le.AppendUint32(b, p.partition)
	b = le.AppendUint32(b, p.stored)
	b = le.AppendUint32(b, p.raw)
	b = le.AppendUint32(b, p.entries)
	return le.AppendUint64(b, p.rawSum)
}

func appendChecksum(b []byte, c dataset.Checksum) []byte {
	b = le.AppendUint64(b, c.Records)
	b = le.AppendUint64(b, c.Hi)
	return le.AppendUint64(b, c.Lo)
}

func parseChecksum(b []byte) dataset.Checksum {
	return dataset.Checksum{Records: le.Uint64(b), Hi: le.Uint64(b[8:]), Lo: le.Uint64(b[16:])}
}

// appendTrailer appends the trailer of a footer with the given length and checksum.
func appendTrailer(b []byte, length, sum uint64) []byte {
	b = le.AppendUint64(b, length)
	b = le.AppendUint64(b, sum)
	return append(b, endMagic...)
}
