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
// The writers of Object never fail: a cache that cannot be written must not stop the refresh whose bytes pass by. The
// first error is kept, what was written so far is removed at once (the disk may be full), and Commit returns it. The
// writer of Make does fail, because what it writes is of no other use.
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

// Writer takes an object's bytes. It never fails.
type Writer interface {
	io.Writer
	// Rewind takes back what was written from the byte off on.
	Rewind(off int64)
}

// Object returns where to write the bytes of the object o.
func (r *Draft) Object(o dataset.Object) Writer {
	f := r.create(int(min(writeBuffer, o.Bytes)))
	f.object = o
	return f
}

// Make has write write an object that nobody has pulled, of about so many bytes, and say what it is. Without room for
// that many it fails with [ErrFull] at once. The writer returns its first error, so that write can end there. The error
// of Make is also that of Commit.
func (r *Draft) Make(bytes int64, write func(io.Writer) (dataset.Object, error)) error {
	if r.err == nil {
		if err := r.dir.room(r.name, bytes); err != nil {
			r.fail(err)
		}
	}
	if r.err != nil {
		return r.err
	}
	f := r.create(writeBuffer)
	if r.err != nil {
		return r.err
	}
	o, err := write(failing{f})
	if err != nil {
		r.fail(err)
	}
	f.object = o
	return r.err
}

func (r *Draft) create(buffer int) *draftFile {
	f := &draftFile{draft: r}
	r.files = append(r.files, f)
	if r.err != nil {
		return f
	}
	file, err := r.dir.temp(r.name)
	if err != nil {
		r.fail(err)
		return f
	}
	f.file, f.path, f.buf = file, file.Name(), bufio.NewWriterSize(file, buffer)
	return f
}

// Commit makes rec the cached version of its dataset, from the objects of its [Chain], and removes what the version before
// needed. The caller has verified every byte that was written. What the chain names and was not written must be there from
// before. On an error the version before stays, unless the error is about its removal.
func (r *Draft) Commit(rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) { return Held{rec, Chain(rec)}, nil })
}

// Extend makes rec the cached version: what is cached now, which must be base, and the deltas that were written. If
// something else is cached, it fails with [ErrOther] and changes nothing: deltas that could not be written once are
// nowhere to be had but at the relays, so that a whole snapshot has to close the gap (see Shorten).
func (r *Draft) Extend(base, rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) {
		held, err := r.dir.Held(r.name)
		if errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
			return Held{}, ErrOther
		}
		if err != nil {
			return Held{}, err
		}
		if held.Record.Version != base.Version || held.Record.VersionID() != base.VersionID() {
			return Held{}, fmt.Errorf("%w: version %d", ErrOther, held.Record.Version)
		}
		held.Record = rec
		for _, f := range r.files {
			held.Chain = append(held.Chain, f.object)
		}
		return held, nil
	})
}

// Shorten puts the snapshot of the version rec, which was written by Make, in the place of what leads up to that
// version. Deltas that lead on from it to a later cached version stay. Without any, rec becomes the cached version,
// unless a later one is.
func (r *Draft) Shorten(rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) {
		fresh := Held{Record: rec}
		for _, f := range r.files {
			fresh.Chain = append(fresh.Chain, f.object)
		}
		held, err := r.dir.Held(r.name)
		switch {
		case errors.Is(err, ErrNone), errors.Is(err, ErrDamaged):
			return fresh, nil
		case err != nil:
			return Held{}, err
		case held.Record.Version < rec.Version:
			return fresh, nil
		case held.Chain[0].Version > rec.Version:
			return Held{}, fmt.Errorf("%w: a later snapshot, of version %d", ErrOther, held.Chain[0].Version)
		}
		later := held.Chain[uint64(len(held.Chain))-(held.Record.Version-rec.Version):]
		if len(later) == 0 && held.Record.VersionID() != rec.VersionID() ||
			len(later) > 0 && !later[0].From.IsZero() && later[0].From != rec.VersionID() {
			return Held{}, fmt.Errorf("%w: version %s, of another history", ErrOther, held.Record.Ref())
		}
		fresh.Record = held.Record
		fresh.Chain = append(fresh.Chain, later...)
		return fresh, nil
	})
}

// commit makes what decide returns the cached version.
func (r *Draft) commit(decide func() (Held, error)) error {
	for _, f := range r.files {
		if r.err == nil {
			if err := f.finish(); err != nil { // before the lock: it may take long
				r.fail(err)
			}
		}
	}
	if r.err != nil {
		return r.err
	}
	files := r.dir.of(r.name)
	files.Lock()
	defer files.Unlock()
	held, err := decide()
	for _, f := range r.files {
		if err == nil {
			err = f.rename(r.dir.object(r.name, f.object.Digest))
		}
	}
	var before []Held
	if err == nil {
		before, err = r.dir.retain(r.name, held)
	}
	if err == nil {
		err = r.write(held)
	}
	if err != nil {
		r.fail(err)
		return r.err
	}
	r.dir.Damaged(r.name, nil)
	if err := r.dir.sweep(r.name, kept(held, before)); err != nil {
		return fmt.Errorf("remove the version before %s from the cache folder: %w", held.Record.ID(), err)
	}
	return nil
}

// write puts held in the place of the version record. The folder is synced once, after all renames: should a
// crash keep some of them only, Stored sees that the version is not whole.
func (r *Draft) write(held Held) error {
	text, err := held.encode()
	if err != nil {
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	for _, o := range held.Chain {
		if _, err := os.Stat(r.dir.object(r.name, o.Digest)); err != nil {
			return fmt.Errorf("write version %s to the cache folder: an object is missing: %w", held.Record.ID(), err)
		}
	}
	file, err := r.dir.temp(r.name)
	if err != nil {
		return err
	}
	defer r.dir.untemp(file.Name())
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

// draftFile is an object being written: an io.Writer that never fails. The draft keeps the first error.
type draftFile struct {
	draft   *Draft
	object  dataset.Object
	path    string   // of the temporary file; empty when it was renamed or removed
	file    *os.File // nil when closed
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

// failing is a draftFile that returns the draft's error.
type failing struct{ f *draftFile }

func (w failing) Write(p []byte) (int, error) {
	n, _ := w.f.Write(p)
	if err := w.f.draft.err; err != nil {
		return 0, err
	}
	return n, nil
}

// Rewind implements [Writer].
func (f *draftFile) Rewind(off int64) {
	if f.file == nil || f.draft.err != nil {
		return
	}
	err := f.buf.Flush()
	if err == nil {
		err = f.file.Truncate(off)
	}
	if err == nil {
		_, err = f.file.Seek(off, io.SeekStart)
	}
	if err != nil {
		f.draft.fail(fmt.Errorf("write to the cache folder: %w", err))
		return
	}
	f.written = off
}

// finish syncs and closes the file.
func (f *draftFile) finish() error {
	if f.written != f.object.Bytes {
		return fmt.Errorf("write to the cache folder: %d of %d bytes of an object were written", f.written, f.object.Bytes)
	}
	if err := f.buf.Flush(); err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	err := syncClose(f.file)
	f.file = nil
	if err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	return nil
}

// rename gives the file its name.
func (f *draftFile) rename(path string) error {
	if err := os.Rename(f.path, path); err != nil {
		return fmt.Errorf("write to the cache folder: %w", err)
	}
	f.draft.dir.untemp(f.path)
	f.path = ""
	return nil
}

func (f *draftFile) discard() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	if f.path != "" {
		os.Remove(f.path)
		f.draft.dir.untemp(f.path)
		f.path = ""
	}
}

func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
}
