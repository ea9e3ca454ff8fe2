package input

import (
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
)

// array cuts a JSON array into its elements. It follows brackets and strings just enough to find where an element ends; the decoder checks
// whether the element is JSON. The streaming reader of a JSON library does not do: it holds an element of any size, and hides the line
// ends.
type array struct {
	window
	key   Key
	opts  options
	line  int // line of the next byte to scan
	count int // elements so far

	spacing spacing

	state   arrayState
	began   int  // line on which the element in progress begins
	depth   int  // brackets open in the element in progress; 0 between elements
	quoted  bool // within a string
	escaped bool // after a backslash in a string
}

// arrayState is what may come next between elements.
type arrayState uint8

const (
	wantArray   arrayState = iota // at the start
	wantFirst                     // after [
	wantComma                     // after an element
	wantElement                   // after a comma
	wantEnd                       // after ]
)

// NewJSON returns the source of an input that is one JSON array of objects, with the key as key says.
func NewJSON(r io.Reader, key Key, opts ...Option) Source {
	return &array{window: window{r: r}, key: key, opts: apply(opts), line: 1}
}

func (s *array) NewDecoder() Decoder { return newObjects(s.key, s.opts) }

func (s *array) Next(b *Batch) error {
	for {
		scanned := len(s.rest)
		s.fill(b)
		start, err := s.cut(b, scanned)
		if err == nil {
			err = s.spacing.check(s.line)
		}
		if err != nil && b.Len() > 0 {
			// The texts before the error are returned first.
			s.rest, s.err = s.rest[:0], err
			return nil
		}
		if err != nil {
			return err
		}
		s.keep(b, start)
		switch {
		case b.Len() > 0:
			return nil
		case s.err == io.EOF && s.state != wantEnd:
			return s.cutShort()
		case s.err != nil:
			return s.ended(s.line)
		case len(s.rest) > maxTextBytes:
			return tooLong(s.began, dataset.MaxValueBytes, "split it into several records")
		}
	}
}

// cut makes a text of each element that ends in b. The first scanned bytes of b belong to the element in progress. It returns where the
// last, unfinished element begins.
func (s *array) cut(b *Batch, scanned int) (start int, err error) {
	for i := scanned; i < len(b.data); i++ {
		if s.depth > 0 {
			from := i
			i = s.scan(b.data, i)
			s.spacing.text += int64(i - from)
			if i < len(b.data) {
				b.spans = append(b.spans, span{start: start, end: i + 1, line: s.began})
				s.state = wantComma
			}
			continue
		}
		switch c := b.data[i]; c {
		case '\n':
			s.line++
			s.spacing.blank++
		case ' ', '\t', '\r':
			s.spacing.blank++
		default:
			if err := s.step(c); err != nil {
				return i, err
			}
			start = i
		}
	}
	if s.depth == 0 {
		start = len(b.data)
	}
	return start, nil
}

// scan continues within an element at data[i:] and returns the index of the byte that ends it, len(data) if none does.
func (s *array) scan(data []byte, i int) int {
	for ; i < len(data); i++ {
		c := data[i]
		if s.quoted {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.quoted = false
			case c == '\n':
				s.line++
			}
			continue
		}
		switch c {
		case '"':
			s.quoted = true
		case '{', '[':
			s.depth++
		case '}', ']':
			if s.depth--; s.depth == 0 {
				return i
			}
		case '\n':
			s.line++
		}
	}
	return i
}

// step handles a byte between elements that is no blank.
func (s *array) step(c byte) error {
	switch {
	case s.state == wantArray && c == '[':
		s.state = wantFirst
	case s.state == wantComma && c == ',':
		s.state = wantElement
	case (s.state == wantComma || s.state == wantFirst) && c == ']':
		s.state = wantEnd
	case (s.state == wantElement || s.state == wantFirst) && c == '{':
		s.depth, s.began = 1, s.line
		s.count++
	default:
		return s.unexpected(c)
	}
	return nil
}

func (s *array) unexpected(c byte) *Refusal {
	r := &Refusal{Line: s.line}
	switch s.state {
	case wantArray:
		r.Problem = fmt.Sprintf("the input begins with %q, not with the [ of a JSON array", c)
		r.Hint = "for one JSON object a line name the format ndjson"
	case wantFirst, wantElement:
		r.Problem = fmt.Sprintf("element %d of the array is no object: it begins with %q", s.count+1, c)
		r.Hint = "each element must be a JSON object"
		if c == ']' {
			r.Problem, r.Hint = "the array ends with a comma", "remove the comma before the ]"
		}
	case wantComma:
		r.Problem = fmt.Sprintf("after element %d of the array comes %q, not a comma or the end", s.count, c)
		r.Hint = "put a comma between elements; for one JSON object a line name the format ndjson"
	case wantEnd:
		r.Problem = fmt.Sprintf("after the end of the array comes %q", c)
		r.Hint = "put all records into one array"
	}
	return r
}

// cutShort returns the error for an input that ends too early. An input of blanks alone has no record, and is no broken array.
func (s *array) cutShort() error {
	if s.state == wantArray {
		return io.EOF
	}
	r := &Refusal{
		Line: s.line, Problem: fmt.Sprintf("the input ends after element %d, before the array does", s.count),
		Hint: "it was cut short; send it again, whole",
	}
	if s.depth > 0 {
		r.Problem = fmt.Sprintf("the input ends within element %d of the array, which begins on line %d", s.count, s.began)
	}
	return r
}
