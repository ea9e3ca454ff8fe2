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
	"time"

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

// Dir is a cache folder. Its methods are safe for concurrent use. None waits for a disk that hangs: see [ErrHangs].
//
// No operation of the disk runs while mu is held. The other locks are held during such operations, and only goroutines that [Do]
// started wait for them.
type Dir struct {
	root string
	lock *flock.Flock

	owning  sync.Mutex // held while the folder is made and its lock is taken
	booting sync.Mutex // held while a boot.json is written

	mu       sync.Mutex // guards what follows
	disk     Disk
	hang     hang
	closed   bool
	ready    bool                   // the folder is there and the lock held
	names    map[string]*sync.Mutex // by dataset: held while it is decided which files make its cached version
	temps    map[string]bool        // the paths of the temporary files of open drafts, which no sweep may take
	creating map[string]int         // by dataset: temporary files that are being created, whose paths are not known yet
	harm     map[string]error       // by dataset: why its cached version cannot be loaded to the end

	retains bool            // a commit keeps the version before; set by Retain before the first use
	watch   func(err error) // set by Watch before the first use
}

// New returns the cache folder at root, which is created when it is first written.
func New(root string) *Dir {
	return &Dir{
		root: root, lock: flock.New(filepath.Join(root, lockName)), disk: NewDisk().withDefaults(),
		names: make(map[string]*sync.Mutex), temps: make(map[string]bool), harm: make(map[string]error),
		creating: make(map[string]int), hang: hang{began: make(chan struct{})},
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

// Close gives the folder free for another process. No draft may be open. Operations that hang touch the folder no more when they
// return. If the folder's lock hangs too, Close returns [ErrHangs].
func (d *Dir) Close() error {
	d.mu.Lock()
	d.ready, d.closed = false, true
	d.mu.Unlock()
	closed := make(chan error, 1)
	go func() { closed <- d.lock.Close() }()
	timer := time.NewTimer(d.patience())
	defer timer.Stop()
	select {
	case err := <-closed:
		return err
	case <-timer.C:
		return d.refusal()
	}
}

// own makes the folder and takes its lock, if it has not done so yet.
func (d *Dir) own() error {
	d.owning.Lock()
	defer d.owning.Unlock()
	if d.owned() {
		return nil
	}
	// Records may be confidential: nobody but the service's user reads them.
	if err := d.mkdir(d.root); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	ok, err := op(d, d.lock.Path(), d.lock.TryLock)
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.Join(errClosed, d.lock.Unlock())
	}
	d.ready = true
	return nil
}

// owned reports whether this process holds the folder.
func (d *Dir) owned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready
}

// dropOldLock removes the lock file of v0.1, in whose place the folder of a dataset may be wanted. It reports false if a process
// holds that lock.
func (d *Dir) dropOldLock() (ok bool, err error) {
	path := filepath.Join(d.root, oldLockName)
	info, err := op(d, path, func() (fs.FileInfo, error) { return os.Lstat(path) })
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	old := flock.New(path)
	if ok, err = op(d, path, old.TryLock); !ok || err != nil {
		return false, err
	}
	return true, errors.Join(d.remove(path), old.Close())
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
	d.mu.Lock()
	d.creating[name]++ // until the path is known, no sweep takes a temporary file of the dataset
	create := d.disk.Create
	d.mu.Unlock()
	f, err := op(d, d.dir(name), func() (*os.File, error) { return create(d.dir(name), tempPrefix+"*"+tempSuffix) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.creating[name]--
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

// inUse reports whether the file of the dataset is a temporary one that is being written, or may be.
func (d *Dir) inUse(name, file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.temps[filepath.Join(d.dir(name), file)] || d.creating[name] > 0 && isTemp(file)
}

func (d *Dir) dir(name string) string { return filepath.Join(d.root, name) }

func (d *Dir) object(name string, digest dataset.Digest) string {
	return filepath.Join(d.root, name, digest.String()+objectSuffix)
}

// Clean removes what a process that died has left, and every version of datasets other than names. It touches
// no file whose name is not of this package's making.
func (d *Dir) Clean(names []string) error { return d.do(func() error { return d.clean(names) }) }

func (d *Dir) clean(names []string) error {
	if _, err := d.stat(d.root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.own(); err != nil {
		return err
	}
	entries, err := d.readDir(d.root)
	if err != nil {
		return fmt.Errorf("clean the cache folder: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || dataset.CheckName(e.Name()) != nil {
			continue
		}
		if err := d.cleanOf(e.Name(), slices.Contains(names, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("clean the cache folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// cleanOf cleans the folder of a dataset, and removes it if the dataset is not wanted.
func (d *Dir) cleanOf(name string, wanted bool) error {
	files := d.of(name)
	files.Lock()
	defer files.Unlock()
	var keep []string
	if wanted {
		held, err := d.held(name)
		switch {
		case errors.Is(err, ErrNone): // then no object is of use
			keep = []string{bootName}
		case err != nil:
			return nil // Stored will say what is wrong with it
		default:
			d.forget(name, held)
			keep = kept(held, d.previous(name))
		}
	}
	err := d.sweep(name, keep)
	_ = d.remove(d.dir(name)) // succeeds only when it is empty
	return err
}

// Discard removes the cached version of the dataset, and those before it. It keeps which versions processes died of.
func (d *Dir) Discard(name string) error { return d.do(func() error { return d.discard(name) }) }

func (d *Dir) discard(name string) error {
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
	entries, err := d.readDir(d.dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var gone []string
	for _, e := range entries {
		if e.Type().IsRegular() && ours(e.Name()) && !slices.Contains(keep, e.Name()) && !d.inUse(name, e.Name()) {
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
		if err := d.remove(filepath.Join(d.dir(name), file)); err != nil {
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
	return file == recordName || file == previousName || file == bootName || isTemp(file)
}

func isTemp(file string) bool {
	return strings.HasPrefix(file, tempPrefix) && strings.HasSuffix(file, tempSuffix)
}
