package input

import (
	"errors"
	"fmt"
)

// ErrTooLarge is the cause of a Refusal of an input that has too many bytes once it is decompressed, or once it is records.
var ErrTooLarge = errors.New("too large once decompressed or parsed")

// Refusal says why an input is refused.
type Refusal struct {
	// File is the file at fault, if the input has several; else empty.
	File string
	// Line is the line at fault, counted from 1; 0 if none alone is.
	Line int
	// Record is the number of the record at fault in a sequence or a Parquet file, counted from 1; 0 if none alone is.
	Record int
	// Key is the record's key where it is known, shortened if it is too long for one.
	Key string
	// Problem says what is wrong, Hint what to do.
	Problem, Hint string
	// Err is the cause; it may be nil.
	Err error
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("file %q: line %d: record %d: key %q: %s; %s", r.File, r.Line, r.Record, r.Key, r.Problem, r.Hint)
}

func (r *Refusal) Unwrap() error { return r.Err }

// tooLong refuses a text that is longer than any record.
func tooLong(line, most int, hint string) *Refusal {
	return &Refusal{
		Line:    line,
		Problem: fmt.Sprintf("the record that begins here has more than %d bytes", most),
		Hint:    hint,
	}
}

// maxBlankBytes is how many more bytes an input may have in blanks between records than in records. Blanks compress well: without a
// bound, a body of some kilobytes keeps its reader busy for minutes.
const maxBlankBytes = 16 << 20

// spacing counts the bytes of records and of blanks between them.
type spacing struct{ text, blank int64 }

// check refuses an input of mostly blanks, with the given line.
func (s *spacing) check(line int) error {
	if s.blank <= maxBlankBytes+s.text {
		return nil
	}
	return &Refusal{
		Line:    line,
		Problem: fmt.Sprintf("up to here the input has %d bytes of blanks and empty lines between records, and %d bytes of records", s.blank, s.text),
		Hint:    "leave the blanks out",
	}
}
