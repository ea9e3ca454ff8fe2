package parquet

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// nextGroup opens the row group of the next row. It returns io.EOF after the last.
func (f *File) nextGroup() error {
	for f.left == 0 {
		if err := f.ended(); err != nil {
			return err
		}
		if f.group == len(f.meta.RowGroups) {
			return io.EOF
		}
		f.group++
		if err := f.openGroup(&f.meta.RowGroups[f.group-1]); err != nil {
			return err
		}
	}
	return nil
}

// ended checks that the columns of the open row group, whose rows are all read, have no value left.
func (f *File) ended() error {
	if f.group == 0 {
		return nil
	}
	for _, l := range f.leaves {
		v, err := l.peek()
		if err == nil && v != nil {
			err = errMany
		}
		if err != nil {
			return &columnError{l.path, err}
		}
		l.close()
	}
	return nil
}

// openGroup begins to read a row group.
func (f *File) openGroup(g *format.RowGroup) error {
	if len(g.Columns) != len(f.leaves) || g.NumRows < 0 || g.NumRows > math.MaxInt64>>1 {
		return damaged("row group %d has %d columns and %d rows, and the schema %d columns", f.group, len(g.Columns), g.NumRows, len(f.leaves))
	}
	streams := make([]*pages, len(f.leaves))
	memory := int64(len(f.leaves)) * leafBytes
	largest, at := int64(0), 0
	for i, l := range f.leaves {
		stream, err := f.stream(l, &g.Columns[i])
		if err != nil {
			return err
		}
		need, err := stream.scan()
		if err != nil {
			return &columnError{l.path, err}
		}
		if need > largest {
			largest, at = need, i
		}
		streams[i] = stream
		memory += need
	}
	if largest > f.limits.Memory {
		r := f.tooLarge(f.leaves[at].path, largest, "the pages of the column")
		r.Memory = memory // with the other columns
		return r
	}
	if memory > f.limits.Memory {
		return f.tooLarge(f.leaves[at].path, memory, fmt.Sprintf("the pages of its %d columns together, of which this one takes the most, %d bytes,", len(f.leaves), largest))
	}
	if err := f.admit(memory); err != nil {
		return err
	}
	f.memory, f.extra, f.budget, f.left = memory, 0, f.limits.Memory-memory, g.NumRows
	for i, l := range f.leaves {
		chunk, ok := f.chunks[i].(*parquet.FileColumnChunk)
		if !ok {
			return damaged("row group %d, column %.200q has no pages", f.group, strings.Join(l.path, "."))
		}
		l.open(chunk, streams[i])
	}
	return nil
}

// stream returns the stream of a column chunk, whose place it checks.
func (f *File) stream(l *leaf, c *format.ColumnChunk) (*pages, error) {
	m := &c.MetaData
	start := m.DataPageOffset
	if m.DictionaryPageOffset >= streamStart && m.DictionaryPageOffset < start {
		start = m.DictionaryPageOffset
	}
	place := fmt.Sprintf("row group %d, column %.200q", f.group, strings.Join(l.path, "."))
	switch {
	case c.FilePath != "":
		return nil, &Refusal{Problem: place + " is in another file", Hint: "publish a file that has all of its columns"}
	case c.CryptoMetadata.Value != nil:
		return nil, &Refusal{Problem: place + " is encrypted", Hint: "write it without encryption"}
	case !readable(m.Codec):
		return nil, &Refusal{Problem: fmt.Sprintf("%s has the compression %v, which is not read", place, m.Codec), Hint: "compress it with snappy, gzip, zstd, brotli or lz4_raw"}
	case m.Type != l.kind:
		return nil, damaged("%s has values of %v, and the schema %v", place, m.Type, l.kind)
	case m.NumValues < 0 || m.TotalCompressedSize < 0 || start < streamStart || start > f.data || m.TotalCompressedSize > f.data-start:
		return nil, damaged("%s has %d values in %d bytes at %d, and the data %d bytes", place, m.NumValues, m.TotalCompressedSize, start, f.data)
	}
	return &pages{file: f, leaf: l, meta: m, next: start, end: start + m.TotalCompressedSize, left: m.NumValues}, nil
}

// scan reads the headers of the pages, and returns the most memory that they take at a time.
func (p *pages) scan() (memory int64, err error) {
	f := p.file
	dictionary, page := int64(0), int64(0)
	values := p.left
	for at := p.next; at < p.end && values > 0; {
		h, n, buf, err := readHeader(f.r, at, p.end, f.maxHeader(), f.header)
		f.header = buf
		if err != nil {
			return 0, err
		}
		at += int64(n) + int64(h.CompressedPageSize)
		switch h.Type {
		case format.DictionaryPage:
			dictionary = max(dictionary, memoryOf(h, n))
		case format.DataPage, format.DataPageV2:
			page = max(page, memoryOf(h, n))
			values -= int64(valuesOf(h))
		}
	}
	if values > 0 {
		return 0, fmt.Errorf("its pages have %d values fewer than it says", values)
	}
	return dictionary + page, nil
}

// maxHeader returns the most bytes of the header of a page.
func (f *File) maxHeader() int64 { return f.limits.Memory / headerCopies }

// admit asks for memory.
func (f *File) admit(bytes int64) error {
	if f.limits.Admit == nil {
		return nil
	}
	if err := f.limits.Admit(bytes); err != nil {
		return &readError{err}
	}
	return nil
}

// tooLarge refuses the file because what needs too much memory.
func (f *File) tooLarge(path []string, need int64, what string) *Refusal {
	place := "the Parquet file"
	if f.group > 0 {
		place = fmt.Sprintf("row group %d", f.group)
	}
	if path != nil {
		place += fmt.Sprintf(", column %.200q", strings.Join(path, "."))
	}
	return &Refusal{
		Problem: fmt.Sprintf("%s: %s needs %d bytes of memory, and there are %d", place, what, need, f.limits.Memory),
		Hint:    "write smaller pages and row groups", Memory: need,
	}
}

// readError is an error that is not the file's: it could not be read.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// reader makes errors of reading a *readError.
type reader struct{ io.ReaderAt }

func (r reader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, at)
	if err != nil && err != io.EOF {
		err = &readError{fmt.Errorf("read the Parquet file: %w", err)}
	}
	return n, err
}
