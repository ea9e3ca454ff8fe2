package input

import (
	"errors"
	"io"
)

// window reads an input a batch at a time and keeps the unused tail of the batch before.
type window struct {
	r    io.Reader
	rest []byte
	err  error // the error of r; io.EOF at the end
}

// fill begins b with the kept tail, and reads until b has batchBytes more or r ends.
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

// keep keeps the tail of the batch from start on.
func (w *window) keep(b *Batch, start int) { w.rest = append(w.rest, b.data[start:]...) }

// ended returns the error at the end of the input, with its line.
func (w *window) ended(line int) error {
	if r, ok := errors.AsType[*Refusal](w.err); ok && r.Line == 0 {
		r.Line = line
	}
	return w.err
}
