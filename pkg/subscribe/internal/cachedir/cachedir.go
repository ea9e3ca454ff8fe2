package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"freshet.dev/pkg/dataset"
)

var (
	// ErrNone is returned when the folder has no version of a dataset.
	ErrNone = errors.New("no version in the cache folder")
	// ErrDamaged is wrapped by errors about a version whose files are not what was written.
	ErrDamaged = errors.New("damaged in the cache folder")
	// ErrShared is wrapped by the error of a write while another process has the folder.
	ErrShared = errors.New("the cache folder is in use by another process; give each instance its own")
	// ErrOther is wrapped when the cached version is not the one that was to be gone on from.
	ErrOther = errors.New("the cache folder has another version")
)

const (
	// lockName is no name of a dataset, unlike oldLockName, the lock of v0.1.
	lockName     = ".lock"
	oldLockName  = "lock"
	recordName   = "version.json"
	objectSuffix = ".object"
	tempPrefix   = "new-"
	tempSuffix   = ".tmp"
)

// Dir is a cache folder. Its methods are safe for concurrent use.
type Dir struct {
	root string

	mu    sync.Mutex // guards what follows
	disk  Disk
	lock  *flock.Flock
	ready bool                   // the folder is there and the lock held
	names map[string]*sync.Mutex // by dataset: held while it is decided which files make its cached version
	temps map[string]bool        // the paths of the temporary files of open drafts, which no sweep may take
	harm  map[string]error       // by dataset: why its cached version cannot be loaded to the end

	retains bool // a commit keeps the version before; set by Retain before the first use
}

// New returns the cache folder at root, which is created when it is first written.
func New(root string) *Dir {
	return &Dir{
		root: root, lock: flock.New(filepath.Join(root, lockName)), disk: Disk{Create: os.CreateTemp, Free: free},
		names: make(map[string]*sync.Mutex), temps: make(map[string]bool), harm: make(map[string]error),
	}
}

// Damaged records that a reader found the cached version damaged. Objects before a damaged delta may stay where they are: they
// are of use at the next start. Until another version is committed, Held fails with err, which wraps [ErrDamaged], so that no
// version is built on them.
func (d *Dir) Damaged(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.harm[name] = err
}

// Damage returns what Damaged recorded for the dataset; nil once a version has been committed since.
func (d *Dir) Damage(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.harm[name]
}

// Close gives the folder free for another process. No draft may be open.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = false
	return d.lock.Close()
}

// own makes the folder and takes its lock, if it has not done so yet.
func (d *Dir) own() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		return nil
	}
	// Records may be confidential: nobody but the service's user reads them.
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	ok, err := d.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the cache folder: %w", err)
	}
	if ok {
		ok, err = d.dropOldLock()
		if !ok {
			err = errors.Join(err, d.lock.Unlock())
		}
	}
	if err != nil {
		return fmt.Errorf("lock the cache folder: %w", err)
	}
	if !ok {
		return fmt.Errorf("%s: %w", d.root, ErrShared)
	}
	d.ready = true
	return nil
}

// dropOldLock removes the lock file of v0.1, in whose place the folder of a dataset may be wanted. It reports false if a process
// holds that lock.
func (d *Dir) dropOldLock() (ok bool, err error) {
	path := filepath.Join(d.root, oldLockName)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	old := flock.New(path)
	if ok, err = old.TryLock(); !ok || err != nil {
		return false, err
	}
	return true, errors.Join(os.Remove(path), old.Close())
}

// of returns the lock of the dataset's files.
func (d *Dir) of(name string) *sync.Mutex {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.names[name]
	if m == nil {
		m = new(sync.Mutex)
		d.names[name] = m
	}
	return m
}

// temp makes a temporary file in the dataset's folder. The caller gives it up by untemp.
func (d *Dir) temp(name string) (*os.File, error) {
	d.mu.Lock() // so that no sweep sees the file before it is known
	defer d.mu.Unlock()
	f, err := d.disk.Create(d.dir(name), tempPrefix+"*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("create a file in the cache folder: %w", err)
	}
	d.temps[f.Name()] = true
	return f, nil
}

func (d *Dir) untemp(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.temps, path)
}

func (d *Dir) inUse(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.temps[path]
}

func (d *Dir) dir(name string) string { return filepath.Join(d.root, name) }

func (d *Dir) object(name string, digest dataset.Digest) string {
	return filepath.Join(d.root, name, digest.String()+objectSuffix)
}

// Clean removes what a process that died has left, and every version of datasets other than names. It touches
// no file whose name is not of this package's making.
func (d *Dir) Clean(names []string) error {
	if _, err := os.Stat(d.root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.own(); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.root)
	if err != nil {
		return fmt.Errorf("clean the cache folder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || dataset.CheckName(e.Name()) != nil {
			continue
		}
		var keep []string
		if slices.Contains(names, e.Name()) {
			held, err := d.Held(e.Name())
			switch {
			case errors.Is(err, ErrNone): // then no object is of use
				keep = []string{bootName}
			case err != nil:
				continue // Stored will say what is wrong with it
			default:
				d.forget(e.Name(), held)
				keep = kept(held, d.Previous(e.Name()))
			}
		}
		if err := d.sweep(e.Name(), keep); err != nil {
			errs = append(errs, fmt.Errorf("clean the cache folder: %w", err))
		}
		os.Remove(d.dir(e.Name())) // succeeds only when it is empty
	}
	return errors.Join(errs...)
}

// Discard removes the cached version of the dataset, and those before it. It keeps which versions processes died of.
func (d *Dir) Discard(name string) error {
	if err := d.own(); err != nil {
		return err
	}
	files := d.of(name)
	files.Lock()
	defer files.Unlock()
	if err := d.sweep(name, []string{bootName}); err != nil {
		return fmt.Errorf("discard %s from the cache folder: %w", name, err)
	}
	return nil
}

// sweep removes the package's files in the dataset's folder except those named in keep. The version record goes
// first, so that it never names what is gone.
func (d *Dir) sweep(name string, keep []string) error {
	entries, err := os.ReadDir(d.dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var gone []string
	for _, e := range entries {
		if e.Type().IsRegular() && ours(e.Name()) && !slices.Contains(keep, e.Name()) && !d.inUse(filepath.Join(d.dir(name), e.Name())) {
			gone = append(gone, e.Name())
		}
	}
	slices.SortFunc(gone, func(a, b string) int {
		switch {
		case a == recordName:
			return -1
		case b == recordName:
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, file := range gone {
		if err := os.Remove(filepath.Join(d.dir(name), file)); err != nil {
			return err
		}
	}
	return nil
}

// ours reports whether file is a name that this package gives.
func ours(file string) bool {
	if digest, ok := strings.CutSuffix(file, objectSuffix); ok {
		_, err := dataset.ParseDigest(digest)
		return err == nil
	}
	return file == recordName || file == previousName || file == bootName || strings.HasPrefix(file, tempPrefix) && strings.HasSuffix(file, tempSuffix)
}
