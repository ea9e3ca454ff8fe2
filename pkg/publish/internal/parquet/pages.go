package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pages is a column chunk as the library reads it: an [io.ReaderAt] of its pages, decompressed and checked. The library reads it from
// the start to the end. Each page is read when the library asks for its first byte.
type pages struct {
	file *File
	leaf *leaf
	meta *format.ColumnMetaData

	next, end int64 // the offset in the file of the next page, and that after the last
	left      int64 // values in pages that are not read yet
	at        int64 // offset of rest in the stream
	rest      []byte
	extra     int64 // bytes of the last page that it takes beyond its size
	err       error // why the last page could not be read; io.EOF after the last
}

// ReadAt implements [io.ReaderAt].
func (p *pages) ReadAt(b []byte, off int64) (int, error) {
	if off != p.at+streamStart || p.err != nil && p.err != io.EOF {
		if p.err == nil {
			p.err = fmt.Errorf("read at %d of a stream that is at %d", off, p.at)
		}
		return 0, p.err
	}
	for len(p.rest) == 0 {
		if p.err == nil {
			p.err = p.read()
		}
		if p.err != nil {
			return 0, p.err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	p.at += int64(n)
	return n, nil
}

// read reads the next page into rest. It returns io.EOF after the last.
func (p *pages) read() error {
	f := p.file
	for {
		if p.next >= p.end || p.left <= 0 {
			return io.EOF
		}
		h, n, buf, err := readHeader(f.r, p.next, p.end, f.maxHeader(), f.header)
		f.header = buf
		if err != nil {
			return err
		}
		body := p.next + int64(n)
		p.next = body + int64(h.CompressedPageSize)
		if h.Type == format.IndexPage {
			continue
		}
		f.body = resize(f.body, int(h.CompressedPageSize))
		if _, err := io.ReadFull(io.NewSectionReader(f.r, body, int64(h.CompressedPageSize)), f.body); err != nil {
			return err
		}
		if err := checkSum(h, f.body); err != nil {
			return err
		}
		if h.Type != format.DictionaryPage {
			p.left -= int64(valuesOf(h))
		}
		return p.unpack(h)
	}
}

// unpack makes rest of the page with the header h, whose body is in the buffer of the file.
func (p *pages) unpack(h *format.PageHeader) error {
	f := p.file
	levels := 0 // which are not compressed
	codec := p.meta.Codec
	if h.Type == format.DataPageV2 {
		v2 := &h.DataPageHeaderV2.V
		levels = int(v2.RepetitionLevelsByteLength) + int(v2.DefinitionLevelsByteLength)
		if v2.IsCompressed.Valid && !v2.IsCompressed.V {
			codec = format.Uncompressed
		}
		v2.IsCompressed = thrift.Null[bool]{Valid: true}
		v2.Statistics = format.Statistics{}
	}
	h.DataPageHeader.V.Statistics = format.Statistics{}
	p.leaf.free() // its values are in the stream of the page before
	data := make([]byte, h.UncompressedPageSize)
	copy(data, f.body[:levels])
	// A page of nulls may have no compressed values at all.
	if len(f.body) > levels || len(data) > levels {
		if err := f.decompress.decode(codec, data[levels:], f.body[levels:]); err != nil {
			return fmt.Errorf("a page does not decompress: %w", err)
		}
	}
	f.read += int64(len(data))
	if err := p.check(h, data); err != nil {
		return err
	}
	h.CompressedPageSize, h.CRC = h.UncompressedPageSize, 0
	head, err := thrift.Marshal(&protocol, h)
	if err != nil {
		return err
	}
	p.rest = append(head, data...)
	return nil
}

// check refuses a page from which the library would make more than it has.
func (p *pages) check(h *format.PageHeader, data []byte) error {
	n, kind := valuesOf(h), p.leaf.kind
	if h.Type == format.DictionaryPage {
		return p.leaf.checkPlain(data, n)
	}
	values, set, encoding, err := p.levels(h, data)
	if err != nil {
		return err
	}
	extra := int64(0)
	if encoding == format.Plain {
		err = p.leaf.checkPlain(values, set)
	} else {
		extra, err = checkValues(values, encoding, kind, set)
	}
	if err != nil {
		return err
	}
	p.file.extra += extra - p.extra
	p.extra = extra
	if p.file.extra > p.file.budget {
		return p.file.tooLarge(p.leaf.path, p.file.extra+p.file.memory, "its strings, which are encoded by what they share,")
	}
	return nil
}

// levels checks the levels of a data page, and returns the bytes of its values, and how many are not null.
func (p *pages) levels(h *format.PageHeader, data []byte) (values []byte, set int, encoding format.Encoding, err error) {
	n, l := valuesOf(h), p.leaf
	set = n
	if v2 := &h.DataPageHeaderV2.V; h.Type == format.DataPageV2 {
		repeats, data := data[:v2.RepetitionLevelsByteLength], data[v2.RepetitionLevelsByteLength:]
		defines, data := data[:v2.DefinitionLevelsByteLength], data[v2.DefinitionLevelsByteLength:]
		if l.maxRep > 0 {
			_, err = checkLevels(repeats, l.maxRep, n)
		}
		if l.maxDef > 0 && err == nil {
			set, err = checkLevels(defines, l.maxDef, n)
		}
		v2.NumNulls = int32(n - set) // arrow-go writes 0 if it writes no statistics
		return data, set, v2.Encoding, err
	}
	v1 := &h.DataPageHeader.V
	for _, level := range []struct {
		most     int
		encoding format.Encoding
	}{{l.maxRep, v1.RepetitionLevelEncoding}, {l.maxDef, v1.DefinitionLevelEncoding}} {
		if level.most == 0 {
			continue
		}
		if level.encoding != format.RLE {
			return nil, 0, 0, fmt.Errorf("the encoding %v of levels is not read", level.encoding)
		}
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, 0, 0, errors.New("the levels of a page are longer than the page")
		}
		size := 4 + int(binary.LittleEndian.Uint32(data))
		if set, err = checkLevels(data[4:size], level.most, n); err != nil {
			return nil, 0, 0, err
		}
		data = data[size:]
	}
	if l.maxDef == 0 {
		set = n
	}
	return data, set, v1.Encoding, nil
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
