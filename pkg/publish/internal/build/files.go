package build

import (
	"fmt"
	"io"
	"sort"

	"freshet.dev/pkg/publish/internal/input"
)

// File is one of the files of an input.
type File struct {
	// Name names the file in messages. It is empty for the only file of an input.
	Name string
	Body io.Reader
	// Open returns the reader of Body's format.
	Open func(*input.Stream) (input.Source, error)
}

// Places maps lines of an input to its files: the lines of a file follow those of the files before. It is for one goroutine at a time.
type Places struct {
	files []place
	lines int // of the files that are read
}

// place is where the lines of a file begin.
type place struct {
	name   string
	before int  // lines of earlier files
	rows   bool // its lines are the rows of a Parquet file
}

// location is a line of a file.
type location struct {
	place
	line int
}

// Describe describes a line of the input, such as "line 7" or "record 7 of "a.parquet"".
func (p *Places) Describe(line int) string {
	at := p.of(line)
	unit := "line"
	if at.rows || len(p.files) == 0 { // a record from Go is on no line
		unit = "record"
	}
	text := fmt.Sprintf("%s %d", unit, at.line)
	if at.name != "" {
		text += fmt.Sprintf(" of %.200q", at.name)
	}
	return text
}

// add adds a file after those that are read.
func (p *Places) add(f place) place {
	f.before = p.lines
	p.files = append(p.files, f)
	return f
}

// of returns the file with a line of the input, and the line in it.
func (p *Places) of(line int) location {
	i := sort.Search(len(p.files), func(i int) bool { return p.files[i].before >= line }) - 1
	if i < 0 {
		return location{line: line} // an input that is not read from files
	}
	return location{p.files[i], line - p.files[i].before}
}

// set sets where r is in the file.
func (f place) set(r *input.Refusal, line int) *input.Refusal {
	r.File, r.Line, r.Record = f.name, line, 0
	if f.rows {
		r.Line, r.Record = 0, line
	}
	return r
}

// already says that the key at later is at l too.
func (l location) already(later location) string {
	in := ""
	if l.name != later.name {
		in = fmt.Sprintf(" of %.200q", l.name)
	}
	if l.rows {
		return fmt.Sprintf("record %d%s has the key already", l.line, in)
	}
	return fmt.Sprintf("the key stands on line %d%s already", l.line, in)
}
