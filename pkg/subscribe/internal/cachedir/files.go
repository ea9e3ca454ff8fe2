package cachedir

import (
	"errors"
	"io/fs"
	"os"
)

// The functions below are operations of package os that are timed.

// op runs f, an operation at path, within the patience of the disk.
func op[T any](d *Dir, path string, f func() (T, error)) (T, error) {
	end, err := d.startOperation(path, d.patience())
	if err != nil {
		var zero T
		return zero, err
	}
	defer end()
	return f()
}

// errOp is op for an operation that returns only an error.
func (d *Dir) errOp(path string, f func() error) error {
	_, err := op(d, path, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

func (d *Dir) readFile(path string) ([]byte, error) {
	return op(d, path, func() ([]byte, error) { return os.ReadFile(path) })
}

func (d *Dir) readDir(path string) ([]os.DirEntry, error) {
	return op(d, path, func() ([]os.DirEntry, error) { return os.ReadDir(path) })
}

func (d *Dir) stat(path string) (fs.FileInfo, error) {
	return op(d, path, func() (fs.FileInfo, error) { return os.Stat(path) })
}

func (d *Dir) mkdir(path string) error {
	return d.errOp(path, func() error { return os.MkdirAll(path, 0o700) })
}

func (d *Dir) rename(from, to string) error {
	return d.errOp(to, func() error { return os.Rename(from, to) })
}

func (d *Dir) remove(path string) error {
	return d.errOp(path, func() error { return os.Remove(path) })
}

func (d *Dir) openFile(path string, flag int) (*os.File, error) {
	return op(d, path, func() (*os.File, error) { return os.OpenFile(path, flag, 0o600) })
}

func (d *Dir) write(f *os.File, p []byte) error {
	return d.errOp(f.Name(), func() error { _, err := f.Write(p); return err })
}

func (d *Dir) closeFile(f *os.File) error {
	return d.errOp(f.Name(), f.Close)
}

// syncClose syncs and closes the file or folder.
func (d *Dir) syncClose(f *os.File) error {
	end, err := d.startOperation(f.Name(), d.syncPatience())
	if err != nil {
		return errors.Join(err, f.Close())
	}
	defer end()
	d.mu.Lock()
	sync := d.disk.Sync
	d.mu.Unlock()
	return errors.Join(sync(f), f.Close())
}

// sync syncs the file or folder.
func (d *Dir) sync(path string) error {
	f, err := d.openFile(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	return d.syncClose(f)
}

// Object is an open object of the folder. It is for one goroutine.
type Object struct {
	file *os.File
	dir  *Dir
	size int    // the length of buf
	buf  []byte // nil before the first Read, after the end and after an error
	rest []byte // the part of buf that Read did not return yet
	err  error  // of the last read of the file
}

// Name returns the path of the object.
func (o *Object) Name() string { return o.file.Name() }

// Read implements io.Reader. It fails with [ErrHangs] if the file hangs. Other files that hang do not affect it.
func (o *Object) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(o.rest) == 0 && o.err == nil {
		o.fill()
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	if n == 0 {
		return 0, o.err
	}
	return n, nil
}

// fill reads the next part of the file.
func (o *Object) fill() {
	buf := o.buf
	if buf == nil {
		buf = make([]byte, o.size)
	}
	// An operation that hangs keeps using buf.
	n, err := runTimed(o.dir, o.file.Name(), func() (int, error) { return o.file.Read(buf) })
	o.buf, o.rest, o.err = buf, buf[:n], err
	if err != nil {
		o.buf = nil
	}
}

// close closes the file.
func (o *Object) close() error { return o.file.Close() }
