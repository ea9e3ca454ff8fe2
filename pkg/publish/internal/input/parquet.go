package input

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"freshet.dev/pkg/publish/internal/parquet"
)

// parquetRows makes texts of the rows of a Parquet file: JSON objects, which are decoded as those of NDJSON. Its lines are rows.
type parquetRows struct {
	text *Stream
	size int64
	file *parquet.File
	key  Key
	opts options
	row  int
	err  error
}

// NewParquet returns the source of a Parquet file with the key in the columns of key. A file on disk is read in place. Any other is
// written to Limits.Spool first, because the format is read from its end. Removals are as in a CSV: a column that marks them is no part
// of the value of a record.
func NewParquet(text *Stream, key Key, opts ...Option) (Source, error) {
	s := &parquetRows{text: text, key: key, opts: apply(opts)}
	file, size, err := text.file()
	if err != nil {
		return nil, err
	}
	s.size = size
	limits := parquet.Limits{
		Memory: int64(text.limits.Windows.each), RowBytes: maxTextBytes, Columns: MaxFields, Flag: s.opts.remove,
		Admit: func(bytes int64) error { return text.admit(text.body.ctx, uint64(bytes)) },
	}
	if s.file, err = parquet.Open(file, size, limits); err != nil {
		return nil, s.refuse(err)
	}
	text.rows = s.file
	switch {
	case s.file.HasFlag() && s.opts.refused:
		return nil, &Refusal{
			Problem: fmt.Sprintf("the file has the column %q, which marks removals in a patch, and this publishes all records", s.opts.remove),
			Hint:    "publish it as a patch, or rename the column",
		}
	case !s.file.HasFlag() && s.opts.required:
		return nil, &Refusal{
			Problem: fmt.Sprintf("the file has no column %q, which marks removals", s.opts.remove),
			Hint:    "its columns are " + strings.Join(s.file.Columns(), ", "),
		}
	}
	return s, nil
}

// CountsRows reports whether the lines of the source are rows of a file.
func CountsRows(s Source) bool {
	_, is := s.(*parquetRows)
	return is
}

func (s *parquetRows) NewDecoder() Decoder { return newObjects(s.key, s.opts) }

func (s *parquetRows) Next(b *Batch) error {
	b.reset()
	for len(b.data) < batchBytes && s.err == nil {
		start := len(b.data)
		data, err := s.file.AppendRow(b.data)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			s.err = s.refuse(err)
			break
		}
		s.row++
		b.data = data
		b.spans = append(b.spans, span{start: start, end: len(data), line: s.row})
	}
	if b.Len() > 0 {
		return nil
	}
	return s.err
}

// check refuses a file whose pages have become too large.
func (s *parquetRows) check() error {
	l, bytes := s.text.limits, s.file.BytesRead()
	r := &Refusal{
		Line: s.row + 1, Problem: fmt.Sprintf("the pages of the file have more than %d bytes once they are decompressed", l.MaxDecompressedBytes),
		Hint: "raise FRESHET_TEXT_BYTES of the publisher (MaxDecompressedBytes of the library)", Err: ErrTooLarge,
	}
	switch {
	case l.MaxDecompressedBytes > 0 && bytes > l.MaxDecompressedBytes:
		return r
	case l.Ratio > 0 && bytes > l.RatioFrom && bytes/l.Ratio > s.size:
		r.Problem = fmt.Sprintf("the pages of the file have more than %d times its size once they are decompressed", l.Ratio)
		r.Hint = "write it uncompressed; FRESHET_BODY_BYTES of the publisher bounds an uncompressed body"
		return r
	}
	return nil
}

// refuse returns err as a *Refusal if the file is refused.
func (s *parquetRows) refuse(err error) error {
	refused, ok := errors.AsType[*parquet.Refusal](err)
	if !ok {
		return err
	}
	r := &Refusal{Line: refused.Row, Problem: refused.Problem, Hint: refused.Hint}
	if w := s.text.limits.Windows; refused.Memory > 0 {
		r.Err = ErrTooLarge
		if refused.Memory <= maxWindow {
			r.Hint += fmt.Sprintf("; or raise FRESHET_MEMORY_BYTES of the publisher (MemoryBytes of the library) to %s",
				mebibytes((w.part*uint64(refused.Memory)+1<<20-1)>>20<<20))
		}
	}
	return r
}

// file returns the input as a file, and its size.
func (s *Stream) file() (io.ReaderAt, int64, error) {
	if s.packed == nil && s.limits.File != nil {
		return s.limits.File, s.limits.File.Size(), nil
	}
	spool, err := os.Create(s.limits.Spool)
	if err != nil {
		return nil, 0, fmt.Errorf("write the Parquet file to the folder for temporary files: %w", err)
	}
	s.spool = spool
	size, err := io.Copy(spool, s.Reader)
	if wrote, ok := errors.AsType[*os.PathError](err); ok && wrote.Path == s.limits.Spool {
		err = fmt.Errorf("write the Parquet file to the folder for temporary files (FRESHET_TEMP_DIR of the publisher, TempDir of the library): %w", err)
	}
	if err != nil {
		return nil, 0, err
	}
	s.closeZstd()
	return spool, size, nil
}

// RandomAccess returns what is left of r if it is a regular file, else nil. Nothing may read r while it is called.
func RandomAccess(r io.Reader) *io.SectionReader {
	file, ok := r.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil || at > info.Size() {
		return nil
	}
	return io.NewSectionReader(file, at, info.Size()-at)
}
