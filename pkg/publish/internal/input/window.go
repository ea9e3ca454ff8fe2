package input

import (
	"errors"
	"io"
)

// window reads an input a batch at a time and keeps what the batch before did not use.
type window struct {
	r    io.Reader
	rest []byte
	err  error // what r ended with; io.EOF at the end
}

// fill begins b with what was kept, and reads until b has batchBytes more or r has ended.
func (w *window) fill(b *Batch) {
	b.reset()
	b.data = append(b.data, w.rest...)
	w.rest = w.rest[:0]
	if w.err != nil {
		return
	}
	want := len(b.data) + batchBytes
	if cap(b.data) < want {
		b.data = append(make([]byte, 0, want), b.data...)
	}
	f := fill(w.r, b.data[len(b.data):want])
	b.data, w.err = b.data[:len(b.data)+len(f.data)], f.err
}

// keep takes over the tail of the batch from start on.
func (w *window) keep(b *Batch, start int) { w.rest = append(w.rest, b.data[start:]...) }

// ended returns the error that the input ends with once everything before it is used, with the line it was seen at.
func (w *window) ended(line int) error {
	if r, ok := errors.AsType[*Refusal](w.err); ok && r.Line == 0 {
		r.Line = line
	}
	return w.err
}
