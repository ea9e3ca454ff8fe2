package cachedir

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
)

// errDropped is the error of a draft after Drop.
var errDropped = errors.New("the draft was dropped")

// Draft is a version that is being written to the cache folder. It is for one goroutine.
//
// The writers of Object never fail, because an error of the cache must not stop the refresh that pulls the bytes. The Draft keeps the first
// error, frees the space of its files immediately (the disk may be full), and returns the error from Commit. A folder that hangs is such
// an error. The writer of Make fails, because its bytes have no other use.
type Draft struct {
	dir      *Dir
	name     string
	files    []*draftFile
	err      error
	buffered int64 // bytes of complete objects that are in memory
	usedDisk bool  // a disk operation was started

	// diskMu is held by the goroutine that uses the files. An abandoned goroutine ends before another one starts.
	diskMu    sync.Mutex
	dropped   atomic.Bool // the draft no longer writes
	abandoned atomic.Bool // see Abandon
}

// Draft starts a version of the dataset. The caller must call Drop, also after Commit.
func (d *Dir) Draft(name string) *Draft { return &Draft{dir: d, name: name} }

// Writer receives the bytes of an object. It never fails.
type Writer interface {
	io.Writer
	// Rewind discards the bytes from offset off on.
	Rewind(off int64)
}

// Object returns the writer for the bytes of the object o.
func (r *Draft) Object(o dataset.Object) Writer {
	f := r.create(int(min(writeBuffer, o.Bytes)))
	f.object = o
	return f
}

// Make calls write, which writes a new object of about so many bytes and returns it. Without enough free space Make fails with [ErrFull]
// and does not call write. The writer returns its first error, so that write can stop. Commit returns the error of Make again.
func (r *Draft) Make(bytes int64, write func(io.Writer) (dataset.Object, error)) error {
	if r.err == nil {
		if err := r.do(r.createFolder); err != nil {
			r.fail(err)
		} else if err := r.do(func() error { return r.dir.checkSpace(r.name, bytes) }); err != nil {
			r.fail(err)
		}
	}
	if r.err != nil {
		return r.err
	}
	f := r.create(writeBuffer)
	o, err := write(failingWriter{f})
	if err != nil {
		r.fail(err)
	}
	f.object = o
	return r.err
}

func (r *Draft) create(buffer int) *draftFile {
	f := &draftFile{draft: r, size: max(buffer, 1)}
	r.files = append(r.files, f)
	return f
}

// do runs f, which uses the disk, unless the draft was dropped.
func (r *Draft) do(f func() error) error {
	r.usedDisk = true
	return r.dir.do(func() error {
		r.diskMu.Lock()
		defer r.diskMu.Unlock()
		if r.dropped.Load() {
			return errDropped
		}
		return f()
	})
}

// createFolder creates the folder of the dataset. It is called in do.
func (r *Draft) createFolder() error {
	if err := r.dir.own(); err != nil {
		return err
	}
	if err := r.dir.mkdir(r.dir.dir(r.name)); err != nil {
		return fmt.Errorf("make the cache folder of %s: %w", r.name, err)
	}
	return nil
}

// Commit makes rec the cached version of its dataset, from the objects of its [Chain], and removes the objects that only the version
// before needed. The caller has verified every byte that was written. Objects of the chain that were not written must be in the folder.
// After an error the previous version is still the cached one, unless the error is about its removal.
func (r *Draft) Commit(rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) { return Held{rec, rec.Chain()}, nil })
}

// Extend makes rec the cached version, from the current one, which must be base, and the deltas that were written. If another version is
// cached, Extend fails with [ErrOther] and changes nothing. Deltas that could not be written earlier exist only at the relays, so a
// snapshot has to close the gap (see Shorten).
func (r *Draft) Extend(base, rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) {
		held, err := r.dir.held(r.name)
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

// Adopt makes rec the cached version, from the objects that make the version of, which has the same content: the cached one, or one before
// it. If the folder lacks them, Adopt fails with [ErrOther] and changes nothing.
func (r *Draft) Adopt(of dataset.Ref, rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) {
		held, err := r.dir.held(r.name)
		if errors.Is(err, ErrNone) || errors.Is(err, ErrDamaged) {
			return Held{}, ErrOther
		}
		if err != nil {
			return Held{}, err
		}
		chain, ok := held.upTo(of)
		if !ok {
			return Held{}, fmt.Errorf("%w: version %d", ErrOther, held.Record.Version)
		}
		return Held{rec, chain}, nil
	})
}

// Shorten replaces the snapshot and the deltas up to the version rec with the snapshot of rec, which Make wrote. Deltas from rec to a later
// cached version stay. If an earlier version is cached, or none, rec becomes the cached version, unless superseded returns true: then the
// instance has left rec for an earlier version, to which it is pinned. Shorten calls superseded when no other commit can come between.
func (r *Draft) Shorten(rec dataset.VersionRecord, superseded func() bool) error {
	return r.commit(func() (Held, error) {
		if superseded() {
			return Held{}, fmt.Errorf("%w: an earlier version is served again", ErrOther)
		}
		shortened := Held{Record: rec}
		for _, f := range r.files {
			shortened.Chain = append(shortened.Chain, f.object)
		}
		held, err := r.dir.held(r.name)
		switch {
		case errors.Is(err, ErrNone), errors.Is(err, ErrDamaged):
			return shortened, nil
		case err != nil:
			return Held{}, err
		case held.Record.Version < rec.Version:
			return shortened, nil
		case held.Chain[0].Version > rec.Version:
			return Held{}, fmt.Errorf("%w: a later snapshot, of version %d", ErrOther, held.Chain[0].Version)
		}
		n := slices.IndexFunc(held.Chain, func(o dataset.Object) bool { return o.Version > rec.Version })
		if n < 0 {
			n = len(held.Chain)
		}
		later := held.Chain[n:]
		if len(later) == 0 && held.Record.VersionID() != rec.VersionID() ||
			len(later) > 0 && !later[0].From.IsZero() && later[0].From != rec.VersionID() {
			return Held{}, fmt.Errorf("%w: version %s, of another history", ErrOther, held.Record.Ref())
		}
		shortened.Record = held.Record
		shortened.Chain = append(shortened.Chain, later...)
		return shortened, nil
	})
}

// commit makes the result of decide the cached version.
func (r *Draft) commit(decide func() (Held, error)) error {
	for _, f := range r.files {
		if r.err == nil {
			f.flush()
		}
	}
	if r.err != nil {
		return r.err
	}
	var sweepErr error
	if err := r.do(func() (err error) { sweepErr, err = r.put(decide); return err }); err != nil {
		r.fail(err)
		return r.err
	}
	return sweepErr
}

// put is the part of commit that uses the disk. sweepErr is the error of removing the previous version, after a successful commit.
func (r *Draft) put(decide func() (Held, error)) (sweepErr, err error) {
	if err := r.createFolder(); err != nil {
		return nil, err
	}
	for _, f := range r.files { // without the lock, because it may take long
		if err := f.finish(); err != nil {
			return nil, err
		}
	}
	files := r.dir.filesLock(r.name)
	files.Lock()
	defer files.Unlock()
	if r.dropped.Load() || r.abandoned.Load() { // the disk hung, and a later version may be cached
		return nil, errDropped
	}
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
		err = r.dir.setHeld(r.name, held)
	}
	if err != nil {
		return nil, err
	}
	r.dir.Damaged(r.name, nil)
	if err := r.dir.sweep(r.name, keptFiles(held, before)); err != nil {
		return fmt.Errorf("remove the version before %s from the cache folder: %w", held.Record.ID(), err), nil
	}
	return nil, nil
}

// setHeld writes held as the version record. It syncs the folder once, after all renames. If a crash loses some of the renames, Stored
// notices that the version is not complete.
func (d *Dir) setHeld(name string, held Held) error {
	text, err := held.encode()
	if err != nil {
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	for _, o := range held.Chain {
		if _, err := d.stat(d.object(name, o.Digest)); err != nil {
			return fmt.Errorf("write version %s to the cache folder: an object is missing: %w", held.Record.ID(), err)
		}
	}
	file, err := d.createTemp(name)
	if err != nil {
		return err
	}
	defer d.releaseTemp(file.Name())
	err = d.write(file, text)
	if err = errors.Join(err, d.syncClose(file)); err == nil {
		err = d.rename(file.Name(), d.RecordPath(name))
	}
	if err != nil {
		_ = d.remove(file.Name())
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	if err := d.sync(d.dir(name)); err != nil {
		return fmt.Errorf("sync the cache folder of %s: %w", name, err)
	}
	return nil
}

// Drop removes the files that were not committed. It may be called at any time, and repeatedly.
func (r *Draft) Drop() { r.fail(errDropped) }

// Abandon makes a commit in flight fail, unless it is already changing the cached version. It may be called by any goroutine, and does not
// wait for the commit.
func (r *Draft) Abandon() { r.abandoned.Store(true) }

// fail keeps the first error and frees the disk space.
func (r *Draft) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	for _, f := range r.files {
		f.buf = nil
	}
	if r.dropped.Swap(true) || !r.usedDisk {
		return
	}
	discard := func() error {
		r.diskMu.Lock()
		defer r.diskMu.Unlock()
		for _, f := range r.files {
			f.discard()
		}
		return nil
	}
	var started atomic.Bool
	err = r.dir.do(func() error { started.Store(true); return discard() })
	if errors.Is(err, ErrHangs) && !started.Load() {
		go discard() // it waits until the operation that hangs returns
	}
}
