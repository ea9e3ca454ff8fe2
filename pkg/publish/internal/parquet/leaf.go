package parquet

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// bufferValues is how many values of a column are decoded at a time.
const bufferValues = 128

// leaf is a column of values, and where in the current row group its reader is.
type leaf struct {
	path           []string
	index          int // of the column
	kind           format.Type
	size           int // bytes of a value of FIXED_LEN_BYTE_ARRAY
	maxDef, maxRep int
	text           bool // its values are JSON strings that can be the keys of a map
	append         appendFunc

	stream *pages
	pages  *parquet.FilePages
	page   parquet.Page
	values parquet.ValueReader
	buffer []parquet.Value
	at     int // in buffer
}

// open begins to read a column chunk.
func (l *leaf) open(chunk *parquet.FileColumnChunk, stream *pages) {
	l.close()
	l.stream, l.pages = stream, chunk.PagesFrom(stream)
}

// close ends the reading of a column chunk.
func (l *leaf) close() {
	l.free()
	if l.pages != nil {
		l.pages.Close()
	}
	l.pages, l.stream = nil, nil
}

// free releases the page, whose values have been used.
func (l *leaf) free() {
	if l.page != nil {
		parquet.Release(l.page)
	}
	l.page, l.values, l.buffer, l.at = nil, nil, l.buffer[:0], 0
}

// peek returns the next value; nil at the end of the column chunk. It is valid until the next call of take and peek.
func (l *leaf) peek() (*parquet.Value, error) {
	for l.at == len(l.buffer) {
		if l.values == nil {
			page, err := l.pages.ReadPage()
			if l.stream.err != nil && l.stream.err != io.EOF {
				err = l.stream.err // why the library has no page
			}
			if err == io.EOF {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			l.page, l.values = page, page.Values()
		}
		if l.buffer == nil {
			l.buffer = make([]parquet.Value, bufferValues)
		}
		n, err := l.values.ReadValues(l.buffer[:cap(l.buffer)])
		l.buffer, l.at = l.buffer[:n], 0
		switch {
		case n > 0:
		case err == io.EOF:
			l.free()
		case err != nil:
			return nil, err
		default:
			return nil, io.ErrNoProgress
		}
	}
	return &l.buffer[l.at], nil
}

// take returns the next value, which must have the repetition level rep.
func (l *leaf) take(rep int) (*parquet.Value, error) {
	v, err := l.peek()
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, errFew
	case v.RepetitionLevel() != rep:
		return nil, errLevels
	}
	l.at++
	return v, nil
}

// checkPlain checks that b has n values in the encoding PLAIN.
func (l *leaf) checkPlain(b []byte, n int) error {
	need := int64(n)
	switch l.kind {
	case format.Boolean:
		need = (need + 7) / 8
	case format.Int32, format.Float:
		need *= 4
	case format.Int64, format.Double:
		need *= 8
	case format.Int96:
		need *= 12
	case format.FixedLenByteArray:
		need *= int64(l.size)
	case format.ByteArray:
		return checkStrings(b, n)
	}
	if need > int64(len(b)) {
		return fmt.Errorf("a page of %d values has %d bytes", n, len(b))
	}
	return nil
}

// checkStrings checks that b has n strings, each after its length.
func checkStrings(b []byte, n int) error {
	for left := n; left > 0; left-- {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return fmt.Errorf("it has %d values fewer than its header says", left)
		}
		b = b[4+binary.LittleEndian.Uint32(b):]
	}
	if len(b) > 0 {
		return fmt.Errorf("a page of %d values has %d bytes more", n, len(b))
	}
	return nil
}
