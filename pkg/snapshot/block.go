package snapshot

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

// DecodeRoom is how much larger than Stored.RawBytes a buffer should be to be decoded into fastest: zstd's inner loop
// copies 16 bytes at a time where it may write past the end (up to 12 % faster on real rows).
const DecodeRoom = 16

// Stored is a block as it lies in the file, its prefix and its stored bytes verified.
type Stored struct {
	// Header is that of the file.
	Header Header
	// Offset is where in the file the block's prefix begins.
	Offset int64
	// Partition is the value of the leading Header.Bits bits of every hash in the block.
	Partition int
	// RawBytes is the length of what Decode returns. It is never more than the stored bytes can back (64 times
	// their number and 64 KiB), so it may be allocated as it is.
	RawBytes int
	// Entries is the number of entries.
	Entries int
	// Bytes are the stored bytes: a zstd frame.
	Bytes []byte

	rawSum uint64
}

// decoders holds idle zstd decoders. One has some 200 KiB of tables, too much to make for each block or for each
// refresh of a small dataset. A decoder that only ever decodes whole frames owns no goroutine, so that the collector
// may drop it.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(MaxBlockRaw), zstd.WithDecoderMaxWindow(MaxBlockRaw))
	if err != nil {
		panic(err) // an option is out of range: a mistake in the line above
	}
	return d
}}

// Decode returns the block's entries, their checksum verified. If cap(dst) is at least RawBytes (better:
// RawBytes+DecodeRoom) they lie at dst's beginning and nothing is allocated; dst past RawBytes+DecodeRoom is left
// alone. Its error wraps [ErrCorrupt]. It may be called from several goroutines.
func (s Stored) Decode(dst []byte) ([]byte, error) {
	if cap(dst) < s.RawBytes {
		dst = make([]byte, 0, s.RawBytes+DecodeRoom)
	}
	d := decoders.Get().(*zstd.Decoder)
	raw, err := d.DecodeAll(s.Bytes, dst[:0:min(cap(dst), s.RawBytes+DecodeRoom)])
	decoders.Put(d)
	switch {
	case err != nil:
		return nil, s.corrupt("zstd: %v", err)
	case len(raw) != s.RawBytes:
		return nil, s.corrupt("it says %d raw bytes and has %d", s.RawBytes, len(raw))
	case xxh3.Hash(raw) != s.rawSum:
		return nil, s.corrupt("its raw bytes do not match their checksum")
	}
	return dst[:len(raw)], nil // the same bytes, with all of dst's capacity for the next block
}

// corrupt returns the error that refuses the block for the reason given.
func (s Stored) corrupt(format string, args ...any) error {
	return corruptBlock(s.Offset, uint32(s.Partition), fmt.Sprintf(format, args...))
}

func corruptBlock(offset int64, partition uint32, problem string) error {
	return fmt.Errorf("%w: the block of partition %d at byte %d: %s", ErrCorrupt, partition, offset, problem)
}
