package cachedir

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
)

// errDropped is the error of a draft after Drop.
var errDropped = errors.New("the draft was dropped")

// Draft is a version on its way into the cache folder. It is for one goroutine.
//
// The writers of Object never fail: a cache that cannot be written must not stop the refresh whose bytes pass by. The
// first error is kept, what was written so far is removed at once (the disk may be full), and Commit returns it. The
// writer of Make does fail, because what it writes is of no other use. When the folder hangs, that is the first error.
type Draft struct {
	dir     *Dir
	name    string
	files   []*draftFile
	err     error
	kept    int64 // bytes of whole objects that wait in memory
	touched bool  // an operation at the disk was begun

	// disk is held by the goroutine that works at the files: one that the draft does not wait for any more comes to its end first.
	disk    sync.Mutex
	dropped atomic.Bool // nothing is written any more
	late    atomic.Bool // see Abandon
}

// Draft begins a version of the dataset. Follow it by Drop, also after Commit.
func (d *Dir) Draft(name string) *Draft { return &Draft{dir: d, name: name} }

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
		if err := r.do(r.begin); err != nil {
			r.fail(err)
		} else if err := r.do(func() error { return r.dir.room(r.name, bytes) }); err != nil {
			r.fail(err)
		}
	}
	if r.err != nil {
		return r.err
	}
	f := r.create(writeBuffer)
	o, err := write(failing{f})
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

// do runs f, an operation at the disk, unless the draft was dropped.
func (r *Draft) do(f func() error) error {
	r.touched = true
	return r.dir.do(func() error {
		r.disk.Lock()
		defer r.disk.Unlock()
		if r.dropped.Load() {
			return errDropped
		}
		return f()
	})
}

// begin makes the folder of the dataset. It is called within do.
func (r *Draft) begin() error {
	if err := r.dir.own(); err != nil {
		return err
	}
	if err := r.dir.mkdir(r.dir.dir(r.name)); err != nil {
		return fmt.Errorf("make the cache folder of %s: %w", r.name, err)
	}
	return nil
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

// Shorten puts the snapshot of the version rec, which was written by Make, in the place of what leads up to that
// version. Deltas that lead on from it to a later cached version stay. Without any, rec becomes the cached version,
// unless a later one is.
func (r *Draft) Shorten(rec dataset.VersionRecord) error {
	return r.commit(func() (Held, error) {
		fresh := Held{Record: rec}
		for _, f := range r.files {
			fresh.Chain = append(fresh.Chain, f.object)
		}
		held, err := r.dir.held(r.name)
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
			f.flush()
		}
	}
	if r.err != nil {
		return r.err
	}
	var swept error
	if err := r.do(func() (err error) { swept, err = r.put(decide); return err }); err != nil {
		r.fail(err)
		return r.err
	}
	return swept
}

// put is commit as far as it works at the disk. swept is why the version before could not be removed.
func (r *Draft) put(decide func() (Held, error)) (swept, err error) {
	if err := r.begin(); err != nil {
		return nil, err
	}
	for _, f := range r.files { // before the lock: it may take long
		if err := f.finish(); err != nil {
			return nil, err
		}
	}
	files := r.dir.of(r.name)
	files.Lock()
	defer files.Unlock()
	if r.dropped.Load() || r.late.Load() { // the disk hung, and a later version may be cached by now
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
	if err := r.dir.sweep(r.name, kept(held, before)); err != nil {
		return fmt.Errorf("remove the version before %s from the cache folder: %w", held.Record.ID(), err), nil
	}
	return nil, nil
}

// setHeld puts held in the place of the version record. The folder is synced once, after all renames: should a
// crash keep some of them only, Stored sees that the version is not whole.
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
	file, err := d.temp(name)
	if err != nil {
		return err
	}
	defer d.untemp(file.Name())
	err = d.write(file, text)
	if err = errors.Join(err, d.syncClose(file)); err == nil {
		err = d.rename(file.Name(), d.RecordPath(name))
	}
	if err != nil {
		_ = d.remove(file.Name())
		return fmt.Errorf("write the version record to the cache folder: %w", err)
	}
	if err := d.syncFolder(d.dir(name)); err != nil {
		return fmt.Errorf("sync the cache folder of %s: %w", name, err)
	}
	return nil
}

// Drop removes what was written and not committed. It may be called at any time, and again.
func (r *Draft) Drop() { r.fail(errDropped) }

// Abandon has a commit that is under way fail, unless it has begun to change the cached version. It may be called by any goroutine, and
// does not wait for that one.
func (r *Draft) Abandon() { r.late.Store(true) }

// fail keeps the first error and gives the disk space free.
func (r *Draft) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	for _, f := range r.files {
		f.buf = nil
	}
	if r.dropped.Swap(true) || !r.touched {
		return
	}
	discard := func() error {
		r.disk.Lock()
		defer r.disk.Unlock()
		for _, f := range r.files {
			f.discard()
		}
		return nil
	}
	var began atomic.Bool
	err = r.dir.do(func() error { began.Store(true); return discard() })
	if errors.Is(err, ErrHangs) && !began.Load() {
		go discard() // when what hangs returns
	}
}
