package input

import (
	"bytes"
	"io"

	"freshet.dev/pkg/dataset"
)

// ndjson cuts an input into lines. It skips lines of blanks, but counts them.
type ndjson struct {
	window
	key  Key
	opts options
	line int // number of line ends before the rest

	spacing spacing
}

// NewNDJSON returns the source of an input that has one JSON object a line, with the key as key says.
func NewNDJSON(r io.Reader, key Key, opts ...Option) Source {
	return &ndjson{window: window{r: r}, key: key, opts: apply(opts)}
}

func (s *ndjson) NewDecoder() Decoder { return newObjects(s.key, s.opts) }

func (s *ndjson) Next(b *Batch) error {
	for {
		s.fill(b)
		whole := bytes.LastIndexByte(b.data, '\n') + 1
		if s.err == io.EOF {
			whole = len(b.data) // the last line may end without a line end
		}
		s.cut(b, whole)
		s.keep(b, whole)
		if err := s.spacing.check(s.line + 1); err != nil {
			s.rest, s.err = s.rest[:0], err // returned after the texts before it
		}
		switch {
		case b.Len() > 0:
			return nil
		case s.err != nil:
			return s.ended(s.line + 1)
		case len(s.rest) > maxTextBytes:
			return tooLong(s.line+1, dataset.MaxValueBytes, "if it is one JSON document over the whole file, name its format json")
		}
	}
}

// cut makes a text of each line in the first whole bytes of b.
func (s *ndjson) cut(b *Batch, whole int) {
	text := 0
	for at := 0; at < whole; at++ {
		switch b.data[at] {
		case '\n':
			s.line++
			continue
		case ' ', '\t', '\r':
			continue
		}
		end := whole
		if i := bytes.IndexByte(b.data[at:whole], '\n'); i >= 0 {
			end = at + i
		}
		n := len(bytes.TrimRight(b.data[at:end], " \t\r"))
		b.spans = append(b.spans, span{start: at, end: at + n, line: s.line + 1})
		text += n
		at = end - 1
	}
	s.spacing.text += int64(text)
	s.spacing.blank += int64(whole - text)
}
