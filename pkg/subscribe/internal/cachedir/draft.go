package cachedir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"freshet.dev/pkg/dataset"
)

// writeBuffer makes few writes of the small pieces in which an object is read; it costs nothing beside a block.
const writeBuffer = 256 << 10

// Draft is a version on its way into the cache folder. It is for one goroutine.
//
// The writers that it gives out never fail: a cache that cannot be written must not stop the refresh whose bytes pass
// by. The first error is kept, what was written so far is removed at once (the disk may be full), and Commit returns
// it.
type Draft struct {
	dir   *Dir
	name  string
	files []*draftFile
	err   error
}

// Draft begins a version of the dataset. Follow it by Drop, also after Commit.
func (d *Dir) Draft(name string) *Draft {
	r := &Draft{dir: d, name: name}
	if err := d.own(); err != nil {
		r.err = err
	} else if err := os.MkdirAll(d.dir(name), 0o700); err != nil {
		r.err = fmt.Errorf("make the cache folder of %s: %w", name, err)
	}
	return r
}

// Object returns where to write the bytes of the object o.
func (r *Draft) Object(o dataset.Object) io.Writer {
	f := &draftFile{draft: r, object: o}
	r.files = append(r.files, f)
	if r.err != nil {
		return f
	}
	file, err := os.CreateTemp(r.dir.dir(r.name), tempPrefix+"*"+tempSuffix)
	if err != nil {
		r.fail(fmt.Errorf("create a file in the cache folder: %w", err))
		return f
	}
	f.file, f.buf = file, bufio.NewWriterSize(file, int(min(writeBuffer, o.Bytes)))
	return f
}

// Commit makes rec the cached version of its dataset, and removes what the version before needed. The caller has
// verified every byte that was written. What rec names and was not written must be there from before. On an error the
// version before stays, unless the error is about its removal.
func (r *Draft) Commit(rec dataset.VersionRecord) error {
	if r.err != nil {
		return r.err
	}
	for _, f := range r.files {
		if err := f.finish(r.dir.object(r.name, f.object.Digest)); err != nil {
			r.fail(err)
			return r.err
		}
	}
	if err := r.writeRecord(rec); err != nil {
		r.fail(err)
		return r.err
	}
	if err := r.dir.sweep(r.name, append(objectNames(rec), recordName)); err != nil {
		return fmt.Errorf("remove the version before %s from the cache folder: %w", rec.ID(), err)
	}
	return nil
}

// writeRecord puts rec in the place of the version record. The folder is synced once, after all renames: should a
// crash keep some of them only, Stored sees that the version is not whole.
func (r *Draft) writeRecord(rec dataset.VersionRecord) error {
	text, err := rec.Encode()
	if err != nil {
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	for _, o := range Chain(rec) {
		if _, err := os.Stat(r.dir.object(r.name, o.Digest)); err != nil {
			return fmt.Errorf("write version %s to the cache folder: an object is missing: %w", rec.ID(), err)
		}
	}
	file, err := os.CreateTemp(r.dir.dir(r.name), tempPrefix+"*"+tempSuffix)
	if err != nil {
		return fmt.Errorf("create a file in the cache folder: %w", err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, syncClose(file)); err == nil {
		err = os.Rename(file.Name(), filepath.Join(r.dir.dir(r.name), recordName))
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	folder, err := os.Open(r.dir.dir(r.name))
	if err == nil {
		err = syncClose(folder)
	}
	if err != nil {
		return fmt.Errorf("sync the cache folder of %s: %w", r.name, err)
	}
	return nil
}

// Drop removes what was written and not committed. It may be called at any time, and again.
func (r *Draft) Drop() {
	if r.err == nil {
		r.err = errors.New("the draft was dropped")
	}
	for _, f := range r.files {
		f.discard()
	}
}

// fail keeps the first error and gives the disk space free.
func (r *Draft) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	for _, f := range r.files {
		f.discard()
	}
}

// draftFile is an object being written: an io.Writer that never fails.
type draftFile struct {
	draft   *Draft
	object  dataset.Object
	file    *os.File // nil when discarded or finished
	buf     *bufio.Writer
	written int64
}

func (f *draftFile) Write(p []byte) (int, error) {
	if f.file != nil && f.draft.err == nil {
		f.written += int64(len(p))
		if _, err := f.buf.Write(p); err != nil {
			f.draft.fail(fmt.Errorf("write to the cache folder: %w", err))
		}
	}
	return len(p), nil
}

// finish syncs the file and gives it its name.
func (f *draftFile) finish(path string) error {
	if f.written != f.object.Bytes {
		return fmt.Errorf("write to the cache folder: %d of %d bytes of an object were written", f.written, f.object.Bytes)
	}
	if err := f.buf.Flush(); err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	temp := f.file.Name()
	err := syncClose(f.file)
	f.file = nil
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	return nil
}

func (f *draftFile) discard() {
	if f.file != nil {
		f.file.Close()
		os.Remove(f.file.Name())
		f.file = nil
	}
}

func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
}
