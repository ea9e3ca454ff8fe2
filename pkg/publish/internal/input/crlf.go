package input

import (
	"bytes"
	"io"
)

// quotedCRLF doubles the CR of each CR LF within quotes, so that encoding/csv, which removes one CR from the end of each line, leaves the
// CR LF of the field. RFC 4180 quotes fields that hold line ends, and does not allow to change them.
type quotedCRLF struct {
	r        io.Reader
	space    [csvBuffer]byte
	buf      []byte // of space: read and not returned yet
	err      error  // that follows buf
	inQuotes bool   // before buf
	doubled  bool   // the first byte of buf is a CR that was returned once
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
			if bytes.Count(q.buf[:m], []byte{'"'})%2 == 1 {
				q.inQuotes = !q.inQuotes
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
		if q.inQuotes && !q.doubled && len(q.buf) > 1 && q.buf[1] == '\n' {
			q.doubled = true
			continue
		}
		q.doubled = false
		q.buf = q.buf[1:]
	}
	return n, nil
}

// fill appends to buf, which holds one byte at most.
func (q *quotedCRLF) fill() {
	kept := copy(q.space[:], q.buf)
	n, err := q.r.Read(q.space[kept:])
	q.buf, q.err = q.space[:kept+n], err
}
