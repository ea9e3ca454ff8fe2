package input

import (
	"bytes"
	"io"

	"freshet.dev/pkg/dataset"
)

// ndjson cuts an input into lines. Lines of blanks alone are passed over, but counted.
type ndjson struct {
	window
	key  string
	opts options
	line int // number of lines that have been cut
}

// NewNDJSON returns the source of an input that has one JSON object a line, with the key in member key.
func NewNDJSON(r io.Reader, key string, opts ...Option) Source {
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
	for start := 0; start < whole; {
		end, next := whole, whole
		if i := bytes.IndexByte(b.data[start:whole], '\n'); i >= 0 {
			end, next = start+i, start+i+1
		}
		s.line++
		if text := bytes.TrimRight(b.data[start:end], " \t\r"); len(text) > 0 {
			end = start + len(text)
			start = end - len(bytes.TrimLeft(text, " \t\r"))
			b.spans = append(b.spans, span{start: start, end: end, line: s.line})
		}
		start = next
	}
}
