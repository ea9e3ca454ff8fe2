package parquet

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// maxGroups is how many groups of eight values a run of packed values may have beyond those of the page. Writers fill up their last run.
const maxGroups = 64

// checkRuns walks the runs of the RLE and bit-packing hybrid, which hold n values of the given width, and returns how many of them are
// equal to count. The library allocates as many values as a run declares.
func checkRuns(b []byte, width, n, count int) (equal int, err error) {
	size := (width + 7) / 8
	for left := n; left > 0; {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return 0, fmt.Errorf("it has %d values fewer than its header says", left)
		}
		b = b[k:]
		length := head >> 1
		if head&1 == 0 {
			if length > uint64(left) || length == 0 || len(b) < size {
				return 0, fmt.Errorf("a run of %d values is longer than the page", length)
			}
			var word [8]byte
			copy(word[:], b[:size])
			if binary.LittleEndian.Uint64(word[:]) == uint64(count) {
				equal += int(length)
			}
			left -= int(length)
			b = b[size:]
			continue
		}
		if length == 0 || length > uint64((left+7)/8+maxGroups) {
			return 0, fmt.Errorf("a run of %d values is longer than the page", 8*length)
		}
		packed := int(length) * width // bytes, unless the last run is cut
		used := min(left, int(length)*8)
		if need := (used*width + 7) / 8; len(b) < need {
			return 0, fmt.Errorf("a run of %d values is longer than the page", used)
		}
		if width <= 8 && count >= 0 {
			equal += countPacked(b, width, used, byte(count))
		}
		left -= used
		b = b[min(packed, len(b)):]
	}
	return equal, nil
}

// countPacked returns how many of the first n values in b, packed in width bits each, are equal to v.
func countPacked(b []byte, width, n int, v byte) (equal int) {
	if width == 0 {
		return n
	}
	mask := uint16(1)<<width - 1
	for i := range n {
		at := i * width
		word := uint16(b[at/8])
		if at/8+1 < len(b) {
			word |= uint16(b[at/8+1]) << 8
		}
		if word>>(at%8)&mask == uint16(v) {
			equal++
		}
	}
	return equal
}

// checkLevels checks n levels, whose largest is most, and returns how many have it.
func checkLevels(b []byte, most, n int) (equal int, err error) {
	return checkRuns(b, bits.Len(uint(most)), n, most)
}

// checkValues checks the encoded values of a page: n values of the given type. extra is how many bytes they take beyond those of the page.
func checkValues(b []byte, encoding format.Encoding, kind format.Type, n int) (extra int64, err error) {
	switch encoding {
	case format.Plain, format.ByteStreamSplit:
		return 0, nil // has as many bytes as values
	case format.RLEDictionary, format.PlainDictionary: //lint:ignore SA1019 files of parquet-mr 1 have it in data pages
		if n == 0 {
			return 0, nil
		}
		if len(b) == 0 || b[0] > 32 {
			return 0, fmt.Errorf("its indexes have no width")
		}
		_, err := checkRuns(b[1:], int(b[0]), n, -1)
		return 0, err
	case format.RLE:
		if kind != format.Boolean || len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return 0, fmt.Errorf("its runs have no length")
		}
		_, err := checkRuns(b[4:4+binary.LittleEndian.Uint32(b)], 1, n, -1)
		return 0, err
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		_, err := skipDeltas(b, n)
		return 0, err
	case format.DeltaByteArray:
		rest, err := skipDeltas(b, n)
		if err == nil {
			_, err = skipDeltas(rest, n)
		}
		if err != nil {
			return 0, err
		}
		size := new(delta.ByteArrayEncoding).EstimateDecodeByteArraySize(b)
		if size < 0 {
			return 0, fmt.Errorf("a length is negative")
		}
		return int64(size), nil
	}
	return 0, fmt.Errorf("its encoding %v is not read", encoding)
}

// skipDeltas walks the n numbers of the DELTA_BINARY_PACKED encoding that b begins with, and returns what follows them.
func skipDeltas(b []byte, n int) (rest []byte, err error) {
	var head [4]uint64 // values of a block, miniblocks of a block, values, the first value
	for i := range head {
		u, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, fmt.Errorf("its deltas have no header")
		}
		head[i], b = u, b[k:]
	}
	block, minis := head[0], head[1]
	if head[2] != uint64(n) {
		return nil, fmt.Errorf("it has %d values, and should have %d", head[2], n)
	}
	if block == 0 || block > 1<<16 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0 {
		return nil, fmt.Errorf("its deltas have blocks of %d values in %d parts", block, minis)
	}
	for left := n - 1; left > 0; {
		_, k := binary.Uvarint(b)
		if k <= 0 || len(b)-k < int(minis) {
			return nil, fmt.Errorf("it has %d values fewer than its header says", left)
		}
		widths := b[k : k+int(minis)]
		b = b[k+int(minis):]
		for _, width := range widths {
			if left <= 0 {
				break
			}
			size := int(block/minis) * int(width) / 8
			if width > 64 || size > len(b) && len(b)*8 < left*int(width) {
				return nil, fmt.Errorf("it has %d values fewer than its header says", left)
			}
			b = b[min(size, len(b)):]
			left -= int(block / minis)
		}
	}
	return b, nil
}
