package parquet

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// headerBytes is how many bytes are read at first for a header.
const headerBytes = 1 << 10

// headerCopies is how often a header is in memory while it is decoded. It has the least and the largest value of its page.
const headerCopies = 4

// errHeader is returned for a header that is too large.
var errHeader = errors.New("the header of a page is too large; write no statistics of the pages")

// protocol is Thrift's compact protocol, which has no state.
var protocol thrift.CompactProtocol

// readHeader reads the header at an offset of r, before end, and returns it with its length, which may be most bytes. It uses buf,
// which it may replace.
func readHeader(r io.ReaderAt, at, end, most int64, buf []byte) (h *format.PageHeader, n int, _ []byte, err error) {
	for want := int64(headerBytes); ; want *= 8 {
		want = min(want, end-at, most)
		if int64(cap(buf)) < want {
			buf = make([]byte, want)
		}
		buf = buf[:want]
		if _, err := io.ReadFull(io.NewSectionReader(r, at, want), buf); err != nil {
			return nil, 0, buf, err
		}
		n, memory, err := measure(buf)
		switch {
		case errors.Is(err, errShort) && want < min(end-at, most):
			continue
		case errors.Is(err, errShort) && want == most, memory > headerCopies*most:
			return nil, 0, buf, errHeader
		case err != nil:
			return nil, 0, buf, fmt.Errorf("the header of a page: %w", err)
		}
		h := new(format.PageHeader)
		if err := thrift.Unmarshal(&protocol, buf[:n], h); err != nil {
			return nil, 0, buf, fmt.Errorf("the header of a page: %w", err)
		}
		return h, n, buf, checkHeader(h, end-at-int64(n))
	}
}

// checkHeader checks the sizes in h, after which left bytes follow in the column chunk.
func checkHeader(h *format.PageHeader, left int64) error {
	switch {
	case h.CompressedPageSize < 0 || h.UncompressedPageSize < 0:
		return errors.New("a page has a negative size")
	case int64(h.CompressedPageSize) > left:
		return fmt.Errorf("a page has %d bytes, and %d are left of its column chunk", h.CompressedPageSize, left)
	}
	v2 := h.DataPageHeaderV2
	switch {
	case h.Type == format.DataPage && !h.DataPageHeader.Valid, h.Type == format.DataPageV2 && !v2.Valid,
		h.Type == format.DictionaryPage && !h.DictionaryPageHeader.Valid:
		return errors.New("a page has no header of its type")
	case valuesOf(h) < 0:
		return errors.New("a page has a negative number of values")
	case h.Type != format.DataPageV2:
		return nil
	case v2.V.RepetitionLevelsByteLength < 0 || v2.V.DefinitionLevelsByteLength < 0 ||
		int64(v2.V.RepetitionLevelsByteLength)+int64(v2.V.DefinitionLevelsByteLength) > int64(min(h.CompressedPageSize, h.UncompressedPageSize)):
		return errors.New("the levels of a page are longer than the page")
	}
	return nil
}

// valuesOf returns the number of values of the page, with nulls; 0 for a page of another type.
func valuesOf(h *format.PageHeader) int {
	switch h.Type {
	case format.DataPage:
		return int(h.DataPageHeader.V.NumValues)
	case format.DataPageV2:
		return int(h.DataPageHeaderV2.V.NumValues)
	case format.DictionaryPage:
		return int(h.DictionaryPageHeader.V.NumValues)
	}
	return 0
}

// memoryOf returns the bytes of memory that the page, whose header has n bytes, takes while it is read and decoded.
func memoryOf(h *format.PageHeader, n int) int64 {
	const perValue = 16 // levels, offset or index, and number
	return headerCopies*int64(n) + int64(h.CompressedPageSize) + 3*int64(h.UncompressedPageSize) + perValue*int64(valuesOf(h))
}

// checkSum compares the body of a page with the checksum in its header, if that has one.
func checkSum(h *format.PageHeader, body []byte) error {
	if h.CRC != 0 && uint32(h.CRC) != crc32.ChecksumIEEE(body) {
		return errors.New("the checksum of a page differs from that in its header")
	}
	return nil
}
