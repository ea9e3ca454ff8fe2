package cachedir

import (
	"errors"
	"fmt"
	"io"
	"os"

	"freshet.dev/pkg/dataset"
)

const (
	// writeBuffer collects the small pieces in which an object is read into few writes. It is small compared with a block.
	writeBuffer = 256 << 10
	// maxBuffered is how much of a draft stays in memory until Commit, so that a refresh by small deltas does not use the disk before its
	// swap.
	maxBuffered = 1 << 20
)

// draftFile is an object being written. It is an io.Writer that never fails: the draft keeps the first error.
type draftFile struct {
	draft   *Draft
	object  dataset.Object
	size    int    // the largest length of buf, at which it is written to the disk
	buf     []byte // the bytes after those on the disk
	written int64  // bytes on the disk and in buf

	// draft.diskMu guards the fields below.
	path string   // of the temporary file; empty after it was renamed or removed
	file *os.File // nil when closed
}

func (f *draftFile) Write(p []byte) (int, error) {
	n := len(p)
	f.written += int64(n)
	for len(p) > 0 && f.draft.err == nil {
		if f.buf == nil {
			f.buf = make([]byte, 0, f.size)
		}
		if len(f.buf) == f.size {
			f.flush()
			continue
		}
		part := p[:min(len(p), f.size-len(f.buf))]
		f.buf, p = append(f.buf, part...), p[len(part):]
	}
	if f.written == f.object.Bytes && f.draft.err == nil {
		if f.draft.buffered += int64(len(f.buf)); f.draft.buffered > maxBuffered {
			f.flush()
			f.buf = nil
		}
	}
	return n, nil
}

// flush writes the buffer to the disk. If the disk hangs, the operation keeps the buffer.
func (f *draftFile) flush() {
	p := f.buf
	f.buf = nil
	err := f.draft.do(func() error {
		if err := f.open(); err != nil {
			return err
		}
		if err := f.draft.dir.write(f.file, p); err != nil {
			return fmt.Errorf("write to the cache folder: %w", err)
		}
		return nil
	})
	if err != nil {
		f.draft.fail(err)
		return
	}
	f.buf = p[:0]
}

// open creates the temporary file unless it exists.
func (f *draftFile) open() error {
	if f.file != nil {
		return nil
	}
	if err := f.draft.createFolder(); err != nil {
		return err
	}
	file, err := f.draft.dir.createTemp(f.draft.name)
	if err != nil {
		return err
	}
	f.file, f.path = file, file.Name()
	return nil
}

// failingWriter is a draftFile that returns the error of the draft.
type failingWriter struct{ f *draftFile }

func (w failingWriter) Write(p []byte) (int, error) {
	n, _ := w.f.Write(p)
	if err := w.f.draft.err; err != nil {
		return 0, err
	}
	return n, nil
}

// Rewind implements [Writer].
func (f *draftFile) Rewind(off int64) {
	if f.draft.err != nil {
		return
	}
	if f.written == f.object.Bytes {
		f.draft.buffered -= int64(len(f.buf))
	}
	onDisk := f.written - int64(len(f.buf))
	f.written = off
	if off >= onDisk {
		f.buf = f.buf[:off-onDisk]
		return
	}
	f.buf = nil
	err := f.draft.do(func() error {
		return f.draft.dir.errOp(f.path, func() error {
			_, err := f.file.Seek(off, io.SeekStart)
			return errors.Join(f.file.Truncate(off), err)
		})
	})
	if err != nil {
		f.draft.fail(fmt.Errorf("write to the cache folder: %w", err))
	}
}

// finish syncs and closes the file.
func (f *draftFile) finish() error {
	if f.written != f.object.Bytes {
		return fmt.Errorf("write to the cache folder: %d of %d bytes of an object were written", f.written, f.object.Bytes)
	}
	err := f.draft.dir.syncClose(f.file)
	f.file = nil
	if err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	return nil
}

// rename renames the temporary file to path.
func (f *draftFile) rename(path string) error {
	if err := f.draft.dir.rename(f.path, path); err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	f.draft.dir.releaseTemp(f.path)
	f.path = ""
	return nil
}

// discard removes the temporary file.
func (f *draftFile) discard() {
	if f.file != nil {
		_ = f.draft.dir.closeFile(f.file)
		f.file = nil
	}
	if f.path != "" {
		_ = f.draft.dir.remove(f.path)
		f.draft.dir.releaseTemp(f.path)
		f.path = ""
	}
}
