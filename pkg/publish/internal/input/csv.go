package input

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"freshet.dev/pkg/dataset"
)

const (
	// maxRowBytes is the length at which a row is refused. A row can be longer than its value, because each quote in it is doubled.
	maxRowBytes = 2*dataset.MaxValueBytes + 64<<10
	csvBuffer   = 64 << 10
)

// rows reads CSV. encoding/csv finds rows and fields; rows adds a bound for their size, and better messages.
type rows struct {
	limit  rowLimit
	csv    *csv.Reader
	comma  byte
	header []string
	form   rowForm
	added  int // bytes of all names
	line   int // line on which the last row ended
	err    error

	spacing spacing
}

// NewCSV returns the source of an input in CSV with the columns that key names. It reads the header, and refuses an input without
// one. For an input without a row the first Next returns io.EOF.
func NewCSV(r io.Reader, key Key, opts ...Option) (Source, error) {
	o := apply(opts)
	s := &rows{limit: rowLimit{r: r}, comma: o.rules.Delimiter()}
	s.csv = csv.NewReader(bufio.NewReaderSize(&quotedCRLF{r: &fieldCounter{r: &s.limit, comma: s.comma}}, csvBuffer))
	s.csv.Comma = rune(s.comma)
	s.csv.ReuseRecord = true
	s.csv.FieldsPerRecord = -1 // counted here, for a better message
	header, err := s.read()
	switch {
	case err == io.EOF:
		s.err = io.EOF
		return s, nil
	case err != nil:
		return nil, err
	}
	s.header = slices.Clone(header)
	if err := s.checkHeader(key); err != nil {
		return nil, err
	}
	s.form = newRowForm(s.header, key, o)
	if err := s.checkColumns(o); err != nil {
		return nil, err
	}
	for _, c := range s.form.columns {
		s.added += len(c.before)
	}
	return s, nil
}

func (s *rows) checkHeader(key Key) error {
	line, _ := s.csv.FieldPos(0)
	seen := make(map[string]bool, len(s.header))
	for i, name := range s.header {
		switch {
		case !utf8.ValidString(name):
			return &Refusal{Line: line, Problem: fmt.Sprintf("the name of column %d is not UTF-8", i+1), Hint: "convert the input to UTF-8"}
		case seen[name]:
			return &Refusal{Line: line, Problem: fmt.Sprintf("the header has the column %.64q twice", name), Hint: "rename one"}
		}
		seen[name] = true
	}
	for _, member := range key.Members {
		if !seen[member] {
			return s.lacks(member, key.role())
		}
	}
	return nil
}

// lacks refuses a header that has no column of that name.
func (s *rows) lacks(name, what string) *Refusal {
	line, _ := s.csv.FieldPos(0)
	r := &Refusal{Line: line, Problem: fmt.Sprintf("the header has no column %q, %s", name, what)}
	const most = 8
	names := make([]string, 0, most)
	for _, name := range s.header[:min(len(s.header), most)] {
		names = append(names, fmt.Sprintf("%.40q", name))
	}
	r.Hint = "its columns are " + strings.Join(names, ", ")
	if len(s.header) > most {
		r.Hint += " and more"
	}
	if i := strings.IndexAny(s.header[0], ";,\t|"); len(s.header) == 1 && i >= 0 {
		delimiter := s.header[0][i : i+1]
		if delimiter == "\t" {
			delimiter = "tab"
		}
		r.Hint = fmt.Sprintf("separate columns by %q, or set the delimiter: freshet settings DATASET --set 'csv_delimiter=%s' --reason TEXT", s.comma, delimiter)
	}
	return r
}

func (s *rows) NewDecoder() Decoder {
	return newRowDecoder(&s.form)
}

func (s *rows) Next(b *Batch) error {
	b.reset()
	for b.Bytes()+fieldBytes*len(b.fields) < batchBytes && s.err == nil {
		row, err := s.read()
		if err == nil && len(row) != len(s.header) {
			err = s.miscounted(row)
		}
		if err == nil {
			err = s.joined(row)
		}
		if err != nil {
			s.err = err
			break
		}
		line, _ := s.csv.FieldPos(0)
		start := len(b.data)
		for _, field := range row {
			b.data = append(b.data, field...)
			b.fields = append(b.fields, len(b.data))
		}
		b.spans = append(b.spans, span{start: start, end: len(b.data), line: line})
		b.added += s.added
		s.spacing.text += int64(len(b.data) - start)
	}
	if b.Len() > 0 {
		return nil
	}
	return s.err
}

// read returns the next row. Every error but io.EOF has the line of the row.
func (s *rows) read() ([]string, error) {
	s.limit.most = s.limit.read + maxRowBytes // the reader is less than two buffers ahead of the row
	row, err := s.csv.Read()
	switch {
	case err == nil:
		last := len(row) - 1
		first, _ := s.csv.FieldPos(0)
		s.spacing.blank += int64(first - s.line - 1) // empty lines, of one byte or two
		if err := s.spacing.check(first); err != nil {
			return nil, err
		}
		s.line, _ = s.csv.FieldPos(last)
		s.line += strings.Count(row[last], "\n")
		return row, nil
	case err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, errRow) && s.limit.blank >= maxRowBytes:
		return nil, &Refusal{Line: s.line + 1, Problem: fmt.Sprintf("more than %d bytes of empty lines begin here", maxRowBytes), Hint: "leave them out"}
	case errors.Is(err, errRow):
		return nil, tooLong(s.line+1, maxRowBytes, `a quote (") that is not closed makes one row of all that follows`)
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		if r.Line == 0 {
			r.Line = s.line + 1
		}
		return nil, r
	}
	broken, ok := errors.AsType[*csv.ParseError](err)
	if !ok {
		return nil, err
	}
	r := &Refusal{Line: broken.Line, Problem: fmt.Sprintf("it is not CSV: %v, at column %d of the line", broken.Err, broken.Column), Err: broken.Err}
	r.Hint = `a field with quotes in it is written in quotes, each quote in it twice: "say ""so"""`
	if errors.Is(err, csv.ErrBareQuote) && broken.Column == 1+len(byteOrderMark) {
		r.Hint += "; or " + marked + ": " + joinedHint
	}
	if broken.StartLine != broken.Line {
		r.Problem += fmt.Sprintf(", in the row that begins on line %d", broken.StartLine)
	}
	return nil, r
}

func (s *rows) miscounted(row []string) *Refusal {
	line, _ := s.csv.FieldPos(0)
	r := &Refusal{
		Line:    line,
		Problem: fmt.Sprintf("the row has %d fields, the header %d", len(row), len(s.header)),
		Hint:    "write a field that has a delimiter or a line end in it in quotes; an empty field still takes its delimiter",
	}
	if i := slices.Index(s.header, s.form.key.Members[0]); i < len(row) && len(s.form.key.Members) == 1 {
		r.Key = row[i][:min(len(row[i]), dataset.MaxKeyBytes)]
	}
	return r
}

// marked is the problem of joined files, and joinedHint the remedy.
const (
	marked     = "a byte order mark stands at the start of a line within the file"
	joinedHint = "files that are joined need one header in all: leave it out of the second and later ones, and their byte order mark"
)

// joined refuses a row that shows that files with a header each were joined: the header would become a record.
func (s *rows) joined(row []string) error {
	line, _ := s.csv.FieldPos(0)
	unended := len(row) == 1 && strings.HasSuffix(row[0], byteOrderMark+s.header[0]) // the file before had no line end
	switch {
	case strings.HasPrefix(row[0], byteOrderMark):
		return &Refusal{Line: line, Problem: marked, Hint: joinedHint}
	case unended, slices.Equal(row, s.header):
		return &Refusal{Line: line, Problem: "the row is the header again", Hint: joinedHint}
	}
	return nil
}

// byteOrderMark is U+FEFF.
const byteOrderMark = "\ufeff"

var errRow = errors.New("row too long")

// rowLimit fails after most bytes: encoding/csv holds a row of any length.
type rowLimit struct {
	r          io.Reader
	read, most int64
	blank      int64 // of the bytes read last: line ends
}

func (g *rowLimit) Read(p []byte) (int, error) {
	if g.read >= g.most {
		return 0, errRow
	}
	n, err := g.r.Read(p[:min(int64(len(p)), g.most-g.read)])
	g.read += int64(n)
	text := len(bytes.TrimRight(p[:n], "\r\n"))
	if text > 0 {
		g.blank = 0
	}
	g.blank += int64(n - text)
	return n, err
}
