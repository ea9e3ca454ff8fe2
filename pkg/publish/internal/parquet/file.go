package parquet

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"freshet.dev/pkg/internal/guard"
)

const (
	// Magic is what a Parquet file begins and ends with.
	Magic = "PAR1"
	// streamStart is where the streams that the library reads begin. An offset of 0 would stand for none.
	streamStart = int64(len(Magic))
	// leafBytes is about the memory of a column without its pages: buffers, and its part of the schema.
	leafBytes = 12 << 10
	// maxWindow is the largest window of zstd pages: that of zstd -19.
	maxWindow = 8 << 20
)

// Limits bounds the reading of a file.
type Limits struct {
	// Memory is the most bytes for the footer, and for the pages of a row group that are in memory at a time.
	Memory int64
	// Admit, if not nil, is called before so many bytes of memory are used. Its error ends the reading.
	Admit func(bytes int64) error
	// RowBytes is the most bytes of a row's JSON, and Columns the most columns of values.
	RowBytes, Columns int
	// Flag is the name of a column of booleans that is in the JSON of a row only if it is true; empty for none.
	Flag string
}

// File reads a Parquet file, row after row. It is for one goroutine.
type File struct {
	r      io.ReaderAt
	limits Limits
	meta   format.FileMetaData
	data   int64 // where the row groups end and the footer begins
	root   *node
	flag   *node
	leaves []*leaf
	chunks []parquet.ColumnChunk // of the schema, by leaf

	group  int   // the row group to open next
	left   int64 // rows in the open row group
	row    int   // rows so far
	budget int64
	memory int64 // of the open row group
	extra  int64 // bytes of its pages beyond those in their headers
	read   int64

	header, body []byte // buffers
	decompress   decompressor
}

// Open reads the footer of the Parquet file in the first size bytes of r. The error is a *Refusal if the file cannot be read as rows.
func Open(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	f := &File{r: reader{r}, limits: limits, budget: limits.Memory, decompress: decompressor{window: maxWindow}}
	err := f.try(func() error { return f.open(size) })
	return f, f.refuse(err)
}

// try calls do. A panic of the library becomes an error, and so does a fault in its assembly.
func (f *File) try(do func() error) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return guard.Try(do)
}

func (f *File) open(size int64) error {
	footer, err := f.footer(size)
	if err != nil {
		return err
	}
	n, memory, err := measure(footer)
	if err != nil {
		return damaged("its footer: %v", err)
	}
	if memory += int64(len(footer)); memory > f.limits.Memory {
		return f.tooLarge(nil, memory, "its footer")
	}
	if err := f.admit(memory); err != nil {
		return err
	}
	if err := thrift.Unmarshal(&protocol, footer[:n], &f.meta); err != nil {
		return damaged("its footer: %v", err)
	}
	if f.meta.EncryptionAlgorithm.Value != nil {
		return &Refusal{Problem: "the Parquet file is encrypted", Hint: "write it without encryption"}
	}
	if f.root, f.leaves, err = newSchema(f.meta.Schema, f.limits.Columns); err != nil {
		return err
	}
	if err := f.findFlag(); err != nil {
		return err
	}
	return f.openChunks()
}

// footer reads the bytes of the footer.
func (f *File) footer(size int64) ([]byte, error) {
	const tail = 8 // the length of the footer, and the magic
	if size < int64(len(Magic))+tail {
		return nil, damaged("it has %d bytes", size)
	}
	var head [len(Magic)]byte
	var end [tail]byte
	for at, b := range map[int64][]byte{0: head[:], size - tail: end[:]} {
		if _, err := f.r.ReadAt(b, at); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read the Parquet file: %w", err)
		}
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	switch {
	case string(head[:]) == "PARE" || string(end[4:]) == "PARE":
		return nil, &Refusal{Problem: "the Parquet file is encrypted", Hint: "write it without encryption"}
	case string(head[:]) != Magic:
		return nil, &Refusal{Problem: fmt.Sprintf("the input begins with %q: it is no Parquet file", head[:]), Hint: "name its format"}
	case string(end[4:]) != Magic:
		return nil, &Refusal{Problem: "the Parquet file is cut short: it does not end with " + Magic, Hint: damagedHint}
	case length > size-tail-int64(len(Magic)):
		return nil, damaged("its footer has %d bytes, and the file %d", length, size)
	case length > f.limits.Memory:
		return nil, f.tooLarge(nil, length, "its footer")
	}
	f.data = size - tail - length
	footer := make([]byte, length)
	if _, err := f.r.ReadAt(footer, f.data); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the Parquet file: %w", err)
	}
	return footer, nil
}

// openChunks opens the schema alone with the library: as a file of one row group without values, whose pages come from a stream.
func (f *File) openChunks() error {
	chunks := make([]format.ColumnChunk, len(f.leaves))
	for i, l := range f.leaves {
		chunks[i].MetaData = format.ColumnMetaData{
			Type: l.kind, Encoding: []format.Encoding{format.Plain}, PathInSchema: l.path,
			DataPageOffset: streamStart, TotalCompressedSize: 1 << 62,
		}
	}
	footer, err := thrift.Marshal(&protocol, &format.FileMetaData{
		Version: 1, Schema: f.meta.Schema, RowGroups: []format.RowGroup{{Columns: chunks}},
	})
	if err != nil {
		return damaged("its schema: %v", err)
	}
	file := append([]byte(Magic), footer...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(footer)))
	file = append(file, Magic...)
	opened, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return damaged("its schema: %v", err)
	}
	f.chunks = opened.RowGroups()[0].ColumnChunks()
	if len(f.chunks) != len(f.leaves) {
		return damaged("its schema has %d columns, and its row groups have %d", len(f.leaves), len(f.chunks))
	}
	return nil
}

// findFlag finds the column that Limits.Flag names.
func (f *File) findFlag() error {
	if f.limits.Flag == "" {
		return nil
	}
	for _, n := range f.root.children {
		if n.path[0] != f.limits.Flag {
			continue
		}
		if n.leaf == nil || n.leaf.kind != format.Boolean {
			r := inColumn(n.path, "marks removals, and is not of the type BOOLEAN")
			r.Hint = "true removes the record; write false or null to add or change one"
			return r
		}
		f.flag = n
	}
	return nil
}

// HasFlag reports whether the file has the column that Limits.Flag names.
func (f *File) HasFlag() bool { return f.flag != nil }

// Columns returns the names of the columns, without those within groups.
func (f *File) Columns() []string {
	var names []string
	for _, n := range f.root.children {
		names = append(names, n.path[0])
	}
	return names
}

// BytesRead returns how many bytes the pages have that were read so far, once decompressed.
func (f *File) BytesRead() int64 { return f.read }

// Close releases the pages in memory.
func (f *File) Close() {
	_ = f.try(func() error { // a panic of a damaged page was reported before
		for _, l := range f.leaves {
			l.close()
		}
		return nil
	})
	f.decompress.close()
}

// AppendRow appends the JSON of the next row to b. It returns io.EOF after the last row, a *Refusal if the file cannot be read on, any other
// error if its bytes could not be read.
func (f *File) AppendRow(b []byte) ([]byte, error) {
	w := writer{out: b, most: len(b) + f.limits.RowBytes, flag: f.flag}
	err := f.try(func() error {
		if err := f.nextGroup(); err != nil {
			return err
		}
		f.left--
		f.row++
		err := w.object(f.root, 0)
		if err == nil && len(w.out) > w.most {
			err = errLong
		}
		return err
	})
	if err == io.EOF {
		return b, io.EOF
	}
	return w.out, f.refuse(err)
}

// refuse returns the *Refusal of err, with its row group, column and row, unless reading the file failed.
func (f *File) refuse(err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	in, ok := errors.AsType[*columnError](err)
	switch {
	case err == errLong:
		return &Refusal{Row: f.row, Problem: fmt.Sprintf("the row has more than %d bytes", f.limits.RowBytes), Hint: "split it into several records"}
	case !ok:
		if failed, is := errors.AsType[*readError](err); is {
			return failed.error
		}
		return damaged("%v", err)
	}
	if failed, is := errors.AsType[*readError](err); is {
		return failed.error
	}
	at := fmt.Sprintf("column %.200q", strings.Join(in.path, "."))
	for _, ofValue := range []error{errNotFinite, errUTF8, errJSON, errYear, errTime, errHeader} {
		if problem, hint, _ := strings.Cut(ofValue.Error(), "; "); errors.Is(err, ofValue) {
			return &Refusal{Row: f.row, Problem: at + ": " + problem, Hint: cmp.Or(hint, typeHint)}
		}
	}
	r := damaged("row group %d, %s: %v", f.group, at, in.err)
	r.Row = f.row
	return r
}
