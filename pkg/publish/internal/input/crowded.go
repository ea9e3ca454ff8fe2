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
	comma    byte // between fields
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
			Hint:    "publish NDJSON, and put values that belong together into one array or object; if its lines end in CR alone, write LF or CRLF",
		}
		return good, c.refused
	}
	return n, err
}

// count returns how many bytes of b may be passed on: all, or those before the row that has too many fields. Of a row that has quotes, it
// may pass on the first bytes too.
func (c *fieldCounter) count(b []byte) int {
	for at := 0; at < len(b); {
		part := b[at:]
		quote := bytes.IndexByte(part, '"')
		if quote >= 0 {
			part = part[:quote]
		}
		if c.inQuotes {
			c.line += bytes.Count(part, []byte{'\n'})
		} else if wide, ok := c.rows(part); !ok {
			return at + wide
		}
		at += len(part)
		if quote >= 0 {
			c.inQuotes = !c.inQuotes
			at++
		}
	}
	return len(b)
}

// rows counts the commas of b, which has no quotes. For a row of too many it returns false, and where the row begins in b: 0 if it begins
// before b.
func (c *fieldCounter) rows(b []byte) (begin int, ok bool) {
	for {
		row, _, ended := bytes.Cut(b[begin:], []byte{'\n'})
		if c.commas += bytes.Count(row, []byte{c.comma}); c.commas >= MaxFields {
			return begin, false
		}
		if !ended {
			return 0, true
		}
		c.line++
		c.commas, c.began = 0, c.line
		begin += len(row) + 1
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
