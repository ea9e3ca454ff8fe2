package input

import (
	"bytes"
	"io"
)

// quotedCRLF doubles the CR of each CR LF within quotes, so that encoding/csv, which takes one CR from the end of each line, leaves
// the CR LF of the field. RFC 4180 quotes fields that hold line ends, and says nothing of changing them. It refuses a byte order mark
// at the begin of a line, outside quotes: within a file only joined files have one.
type quotedCRLF struct {
	r        io.Reader
	space    [csvBuffer]byte
	buf      []byte // of space: read and not passed on yet
	err      error  // that follows buf
	inQuotes bool   // before buf
	doubled  bool   // the first byte of buf is a CR that was passed on once
	mark     int    // bytes of a byte order mark before buf, at the begin of a line
	inLine   bool   // before buf stands a byte that is no line end
	lines    int    // line ends before buf
}

func (q *quotedCRLF) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		for q.err == nil && (len(q.buf) == 0 || len(q.buf) == 1 && q.buf[0] == '\r') {
			q.fill()
		}
		if len(q.buf) == 0 {
			if n > 0 {
				return n, nil
			}
			return 0, q.err
		}
		if i := bytes.IndexByte(q.buf, '\r'); i != 0 {
			if i < 0 {
				i = len(q.buf)
			}
			m := copy(p[n:], q.buf[:i])
			if i := q.scan(q.buf[:m]); i >= 0 {
				q.buf, q.err = nil, &Refusal{
					Line:    q.lines + 1,
					Problem: "a byte order mark stands at the begin of a line within the file",
					Hint:    joinedHint,
				}
				return n + i, nil // the rows before it
			}
			q.buf = q.buf[m:]
			n += m
			if len(q.buf) == 0 {
				return n, nil // rather than wait for more
			}
			continue
		}
		p[n] = '\r'
		n++
		q.mark, q.inLine = 0, true
		if q.inQuotes && !q.doubled && len(q.buf) > 1 && q.buf[1] == '\n' {
			q.doubled = true
			continue
		}
		q.doubled = false
		q.buf = q.buf[1:]
	}
	return n, nil
}

// fill reads more behind what is in buf, which is one byte at most.
func (q *quotedCRLF) fill() {
	kept := copy(q.space[:], q.buf)
	n, err := q.r.Read(q.space[kept:])
	q.buf, q.err = q.space[:kept+n], err
}

// scan takes note of the quotes and line ends in chunk, up to a byte order mark at the begin of a line. It returns where the mark begins, and 0
// if that was before chunk; -1 if there is none.
func (q *quotedCRLF) scan(chunk []byte) int {
	if rest := byteOrderMark[q.mark:]; q.mark > 0 {
		if bytes.HasPrefix(chunk, []byte(rest)) {
			return 0
		}
		if len(chunk) < len(rest) && rest[:len(chunk)] == string(chunk) {
			q.mark += len(chunk)
			return -1
		}
		q.mark, q.inLine = 0, true
	}
	was := q.inLine
	for from := 0; ; {
		i := bytes.Index(chunk[from:], []byte(byteOrderMark))
		if i < 0 {
			q.pass(chunk[from:])
			break
		}
		q.pass(chunk[from : from+i])
		if !q.inQuotes && !q.inLine {
			return from + i
		}
		from += i + len(byteOrderMark)
		q.inLine = true
	}
	for n := len(byteOrderMark) - 1; n > 0 && !q.inQuotes; n-- {
		start := len(chunk) - n
		if start > 0 && chunk[start-1] != '\n' || start == 0 && was {
			continue
		}
		if bytes.HasSuffix(chunk, []byte(byteOrderMark[:n])) {
			q.mark = n
			break
		}
	}
	return -1
}

func (q *quotedCRLF) pass(text []byte) {
	if bytes.Count(text, []byte{'"'})%2 == 1 {
		q.inQuotes = !q.inQuotes
	}
	q.lines += bytes.Count(text, []byte{'\n'})
	if len(text) > 0 {
		q.inLine = text[len(text)-1] != '\n'
	}
}
