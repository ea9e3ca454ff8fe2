// Package scratch makes folders for temporary files. A later process removes those of a process that died.
//
// The process that holds the lock on the file in a folder owns the folder. The operating system releases the lock when the process
// ends, so a folder whose lock is free has no owner and may be removed.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

const (
	prefix   = "freshet-publish-"
	lockName = "owner.lock"
)

// Folder is a folder for the temporary files of one task.
type Folder struct {
	path string
	lock *flock.Flock
}

// New makes a folder within parent, which must exist.
func New(parent string) (*Folder, error) {
	// More than one round is needed only if Clean, in another process, finds the folder before it is locked.
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
	return nil, fmt.Errorf("another process removes temporary folders in %s as soon as they are made", parent)
}

// owned reports whether the locked file is still the one in the folder: Clean may have removed it between its opening and its
// locking.
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

// Close removes the folder and all files in it.
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

// Discard closes the folder, and logs a failure: a publish whose version is committed has not failed because files are left.
func (f *Folder) Discard(log *slog.Logger, dataset string) {
	if err := f.Close(); err != nil {
		log.Warn("temporary files are left", "dataset", dataset, "error", err)
	}
}

// remove removes a folder, its lock last: if the process dies before that, Clean still finds a lock without an owner.
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

// ignoreGone drops the error of removing a file that another process has just removed.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Clean removes the folders in parent that New made in processes that have ended, and returns their paths. It ignores folders of
// other users. A failure with one folder does not stop the others.
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
	// The flag does not create a missing lock: that would interfere with the Close of the folder's owner.
	lock := flock.New(filepath.Join(path, lockName), flock.SetFlag(os.O_RDWR))
	held, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		// The folder is not locked yet, or nearly removed. In the first case New notices and makes another. Remove fails if the
		// folder has files.
		return os.Remove(path) == nil, nil
	}
	if err != nil || !held {
		return false, err
	}
	err = remove(path)
	return err == nil, errors.Join(err, lock.Close())
}
