package snapshot

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

// output writes a file. One goroutine at a time calls its methods: NewWriter, then the stream's callbacks, then Close. Only
// failed may be called concurrently.
type output struct {
	w      io.Writer
	digest hash.Hash
	off    int64
	rows   []byte // the footer's table
	buf    []byte
	err    atomic.Pointer[error] // the first error of w
}

func newOutput(w io.Writer) *output { return &output{w: w, digest: sha256.New()} }

// failed returns the first error of a write.
func (o *output) failed() error {
	if err := o.err.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes b. It does nothing after a failed write.
func (o *output) write(b []byte) {
	if o.err.Load() != nil {
		return
	}
	n, err := o.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		err = fmt.Errorf("write at byte %d: %w", o.off+int64(n), err)
		o.err.Store(&err)
		return
	}
	o.digest.Write(b)
	o.off += int64(n)
}

// block writes a block with the prefix p and the stored bytes frame.
func (o *output) block(p prefix, frame []byte) {
	o.rows = appendRow(o.rows, o.off, p)
	o.buf = p.append(o.buf[:0])
	o.write(o.buf)
	o.write(frame)
}

// footer writes footer and trailer, and returns t with the file's size and digest.
func (o *output) footer(t Totals) (Totals, error) {
	b := le.AppendUint32(make([]byte, 0, tagBytes+len(o.rows)+totalsBytes+trailerBytes), footerTag)
	b = le.AppendUint32(b, uint32(len(o.rows)/rowBytes))
	b = append(b, o.rows...)
	b = t.append(b)
	o.write(appendTrailer(b, uint64(len(b)), xxh3.Hash(b)))
	t.FileBytes = o.off
	o.digest.Sum(t.Digest[:0])
	return t, o.failed()
}
