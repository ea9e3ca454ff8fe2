package input

import (
	"bytes"
	"fmt"
	"io"
)

// MaxFields is the most fields of a CSV row. It is also the most members of an object of a record, with those of the objects around it.
// Parsers hold several words for each.
const MaxFields = 16 << 10

// fieldCounter fails at a row of more than MaxFields fields, before a parser sees the row.
type fieldCounter struct {
	r        io.Reader
	inQuotes bool
	commas   int // of the row in progress
	line     int // line ends so far
	began    int // line ends before the row in progress
	refused  *Refusal
}

func (c *fieldCounter) Read(p []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refused
	}
	n, err := c.r.Read(p)
	if good := c.count(p[:n]); good < n {
		c.refused = &Refusal{
			Line:    c.began + 1,
			Problem: fmt.Sprintf("the row has more than %d fields", MaxFields),
			Hint:    "publish NDJSON, and put values that belong together into one array or object",
		}
		return good, c.refused
	}
	return n, err
}

// count returns how many bytes of b may be passed on.
func (c *fieldCounter) count(b []byte) int {
	for at := 0; at < len(b); {
		part := b[at:]
		quote := bytes.IndexByte(part, '"')
		if quote >= 0 {
			part = part[:quote]
		}
		if c.inQuotes {
			c.line += bytes.Count(part, []byte{'\n'})
		} else if !c.rows(part) {
			return at
		}
		at += len(part)
		if quote >= 0 {
			c.inQuotes = !c.inQuotes
			at++
		}
	}
	return len(b)
}

// rows counts the commas of b, which has no quotes. It returns false for a row of too many.
func (c *fieldCounter) rows(b []byte) bool {
	for {
		end := bytes.IndexByte(b, '\n')
		row := b
		if end >= 0 {
			row = b[:end]
		}
		if c.commas += bytes.Count(row, []byte{','}); c.commas >= MaxFields {
			return false
		}
		if end < 0 {
			return true
		}
		c.line++
		c.commas, c.began = 0, c.line
		b = b[end+1:]
	}
}

// maxDepth is more than the depth at which the JSON parser refuses a text.
const maxDepth = 10_001

// crowded reports whether the objects that are open at one place of a JSON text have more than MaxFields members so far.
func crowded(text []byte) bool {
	if bytes.Count(text, []byte{':'}) <= MaxFields {
		return false
	}
	var open []int // members of each open object
	members, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' && len(open) == maxDepth:
			return false // the parser refuses it
		case c == '{':
			open = append(open, 0)
		case c == ':' && len(open) > 0:
			open[len(open)-1]++
			if members++; members > MaxFields {
				return true
			}
		case c == '}' && len(open) > 0:
			members -= open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
	return false
}
