package input

import (
	"fmt"

	"freshet.dev/pkg/publish/internal/parquet"
)

// NewDetected returns the source of an input that is a Parquet file, a JSON array or has one JSON object a line, which its first characters
// show.
func NewDetected(text *Stream, key Key, opts ...Option) (Source, error) {
	if head, _ := text.Peek(len(parquet.Magic)); string(head) == parquet.Magic {
		return NewParquet(text, key, opts...)
	}
	c, ok, err := text.First()
	switch {
	case err != nil:
		return nil, err
	case !ok, c == '{':
		return NewNDJSON(text, key, opts...), nil
	case c == '[':
		return NewJSON(text, key, opts...), nil
	}
	return nil, &Refusal{
		Line: 1, Problem: fmt.Sprintf("the input begins with %q: it is neither JSON nor one JSON object a line nor Parquet", c),
		Hint: "name its format if it is csv",
	}
}
