// Package scratch makes folders for temporary files that do not outlive their process, however that ends.
//
// A folder is owned by whoever holds the lock on the file in it. The operating system releases the lock when the
// process ends, so that a folder whose lock can be had is nobody's and may be removed.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

const (
	prefix   = "freshet-publish-"
	lockName = "owner.lock"
)

// Folder is a folder of its own for temporary files.
type Folder struct {
	path string
	lock *flock.Flock
}

// New makes a folder within parent, which must exist.
func New(parent string) (*Folder, error) {
	// More than one round is needed only if Clean, in another process, meets the folder between its making and its
	// locking. Many rounds are lost only to a process that does nothing but clean.
	for range 100 {
		path, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder: %w", err)
		}
		f := &Folder{path: path, lock: flock.New(filepath.Join(path, lockName))}
		held, err := f.lock.TryLock()
		if err == nil && held && f.owned() {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("lock a temporary folder: %w", err)
		}
	}
	return nil, fmt.Errorf("temporary folders in %s are taken away as soon as they are made", parent)
}

// owned reports whether the file that was locked is still the one in the folder, which Clean may have taken away
// between its opening and its locking.
func (f *Folder) owned() bool {
	locked, err := f.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.lock.Path())
	return err == nil && os.SameFile(locked, there)
}

// Path returns the path of a file called name in the folder.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// Close removes the folder with all that is in it.
func (f *Folder) Close() error {
	err := remove(f.path)
	if unlock := f.lock.Close(); unlock != nil {
		err = errors.Join(err, unlock)
	}
	if err != nil {
		return fmt.Errorf("remove the temporary folder: %w", err)
	}
	return nil
}

// remove removes a folder, its lock last: whoever dies on the way leaves a folder that Clean can tell to be nobody's.
func remove(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return ignoreGone(err)
	}
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(ignoreGone(os.Remove(filepath.Join(path, lockName))), ignoreGone(os.Remove(path)))
}

// ignoreGone drops the error of removing what another process has just removed too.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Clean removes the folders in parent that New made in processes that have ended, and returns their paths. Folders of
// other users are left alone. Nothing that goes wrong with one folder keeps it from the others.
func Clean(parent string) (removed []string, err error) {
	paths, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("look for temporary folders of dead processes: %w", err)
	}
	for _, path := range paths {
		gone, e := clean(path)
		if gone {
			removed = append(removed, path)
		}
		if e != nil && !errors.Is(e, fs.ErrPermission) {
			err = errors.Join(err, fmt.Errorf("remove the temporary folder of a dead process: %w", e))
		}
	}
	return removed, err
}

func clean(path string) (gone bool, err error) {
	if info, err := os.Lstat(path); err != nil || !info.IsDir() || !mine(info) {
		return false, ignoreGone(err)
	}
	// Not creating the lock where there is none keeps this from getting between a folder and its owner's Close.
	lock := flock.New(filepath.Join(path, lockName), flock.SetFlag(os.O_RDWR))
	held, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		// Made and not locked yet, or all but removed. The first finds out and makes another; if anything is in it,
		// this fails and does nothing.
		return os.Remove(path) == nil, nil
	}
	if err != nil || !held {
		return false, err
	}
	err = remove(path)
	return err == nil, errors.Join(err, lock.Close())
}
