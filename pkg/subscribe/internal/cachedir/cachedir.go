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
	// ErrDamaged is returned when the files of a version do not have the content that was written.
	ErrDamaged = errors.New("damaged in the cache folder")
	// ErrShared is returned by a write while another process holds the folder.
	ErrShared = errors.New("the cache folder is in use by another process; give each instance its own")
	// ErrOther is returned when the cached version is not the one that the call builds on.
	ErrOther = errors.New("the cache folder has another version")
)

const (
	// lockName cannot be the name of a dataset, unlike oldLockName, the lock of v0.1.
	lockName     = ".lock"
	oldLockName  = "lock"
	recordName   = "version.json"
	objectSuffix = ".object"
	tempPrefix   = "new-"
	tempSuffix   = ".tmp"
)

// Dir is a cache folder. Its methods are safe for concurrent use, and do not wait for a disk that hangs: see [ErrHangs].
//
// No disk operation runs while mu is held. The other locks are held during disk operations, and only goroutines that [Do] started wait
// for them.
type Dir struct {
	root string
	lock *flock.Flock

	ownMu sync.Mutex // held while the folder is created and locked

	mu       sync.Mutex // guards the fields below
	disk     Disk
	hang     hang
	closed   bool
	ready    bool                   // the folder exists and this process holds its lock
	locks    map[string]*sync.Mutex // by dataset: held while the files of its cached version change
	boots    map[string]*bootWrites // by dataset
	temps    map[string]bool        // the paths of the temporary files of open drafts, which a sweep keeps
	creating map[string]int         // by dataset: the number of temporary files that are being created, whose paths are not known yet
	damage   map[string]error       // by dataset: why its cached version cannot be loaded completely

	retains bool            // a commit keeps the previous version; Retain sets it before the first use
	watch   func(err error) // Watch sets it before the first use
}

// New returns the cache folder at root. The first write creates the folder.
func New(root string) *Dir {
	return &Dir{
		root: root, lock: flock.New(filepath.Join(root, lockName)), disk: NewDisk().withDefaults(),
		locks: make(map[string]*sync.Mutex), boots: make(map[string]*bootWrites), temps: make(map[string]bool), damage: make(map[string]error),
		creating: make(map[string]int), hang: hang{started: make(chan struct{})},
	}
}

// Damaged records err, which wraps [ErrDamaged], as the damage of the cached version. The objects before a damaged delta stay in the
// folder, because they are useful at the next start. Until another version is committed, Held fails with err, so that no version builds
// on the damaged one.
func (d *Dir) Damaged(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.damage[name] = err
}

// Damage returns the error that Damaged recorded for the dataset; nil if a version was committed since.
func (d *Dir) Damage(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damage[name]
}

// Close releases the folder for another process. No draft may be open. Calls whose operation hangs do not use the folder after it
// returns. If the release of the lock hangs, Close returns [ErrHangs].
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
		return d.hangError()
	}
}

// own creates the folder and takes its lock, unless this process has the lock.
func (d *Dir) own() error {
	d.ownMu.Lock()
	defer d.ownMu.Unlock()
	if d.owned() {
		return nil
	}
	// Records may be confidential, so only the user of the service may read them.
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

// owned reports whether this process holds the lock of the folder.
func (d *Dir) owned() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ready
}

// dropOldLock removes the lock file of v0.1, because a dataset may have a folder of that name. It returns false if a process holds that
// lock.
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

// filesLock returns the lock of the dataset's files.
func (d *Dir) filesLock(name string) *sync.Mutex {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.locks[name]
	if m == nil {
		m = new(sync.Mutex)
		d.locks[name] = m
	}
	return m
}

// createTemp creates a temporary file in the dataset's folder. A sweep keeps the file until the caller calls releaseTemp.
func (d *Dir) createTemp(name string) (*os.File, error) {
	d.mu.Lock()
	d.creating[name]++ // until the path is known, a sweep keeps all temporary files of the dataset
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

func (d *Dir) releaseTemp(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.temps, path)
}

// inUse reports whether the file of the dataset is a temporary file that is being written, or may be one.
func (d *Dir) inUse(name, file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.temps[filepath.Join(d.dir(name), file)] || d.creating[name] > 0 && isTemp(file)
}

func (d *Dir) dir(name string) string { return filepath.Join(d.root, name) }

func (d *Dir) object(name string, digest dataset.Digest) string {
	return filepath.Join(d.root, name, digest.String()+objectSuffix)
}

// Clean removes the leftovers of processes that died, and every version of datasets other than names. It keeps files with names that
// this package does not create.
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
		if err := d.cleanDataset(e.Name(), slices.Contains(names, e.Name())); err != nil {
			errs = append(errs, fmt.Errorf("clean the cache folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// cleanDataset cleans the folder of a dataset, and removes all versions of a dataset that is not subscribed.
func (d *Dir) cleanDataset(name string, subscribed bool) error {
	files := d.filesLock(name)
	files.Lock()
	defer files.Unlock()
	var keep []string
	if subscribed {
		held, err := d.held(name)
		switch {
		case errors.Is(err, ErrNone): // then no object is of use
			keep = []string{bootName}
		case err != nil:
			return nil // Stored returns this error
		default:
			d.dropConfirmed(name, held)
			keep = keptFiles(held, d.previous(name))
		}
	}
	err := d.sweep(name, keep)
	if !subscribed {
		_ = d.remove(d.PinsPath(name)) // fails if there is none; a relay has the pins if the dataset is subscribed again
	}
	_ = d.remove(d.dir(name)) // fails unless the folder is empty
	return err
}

// Discard removes the cached version of the dataset and the versions before it. It keeps boot.json.
func (d *Dir) Discard(name string) error { return d.do(func() error { return d.discard(name) }) }

func (d *Dir) discard(name string) error {
	if err := d.own(); err != nil {
		return err
	}
	files := d.filesLock(name)
	files.Lock()
	defer files.Unlock()
	if err := d.sweep(name, []string{bootName}); err != nil {
		return fmt.Errorf("discard %s from the cache folder: %w", name, err)
	}
	return nil
}

// sweep removes the package's files in the dataset's folder except those named in keep. It removes the version record first, so that the
// record never names a missing object.
func (d *Dir) sweep(name string, keep []string) error {
	entries, err := d.readDir(d.dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var remove []string
	for _, e := range entries {
		if e.Type().IsRegular() && isCacheFile(e.Name()) && !slices.Contains(keep, e.Name()) && !d.inUse(name, e.Name()) {
			remove = append(remove, e.Name())
		}
	}
	slices.SortFunc(remove, func(a, b string) int {
		switch {
		case a == recordName:
			return -1
		case b == recordName:
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, file := range remove {
		if err := d.remove(filepath.Join(d.dir(name), file)); err != nil {
			return err
		}
	}
	return nil
}

// isCacheFile reports whether this package creates files of that name.
func isCacheFile(file string) bool {
	if digest, ok := strings.CutSuffix(file, objectSuffix); ok {
		_, err := dataset.ParseDigest(digest)
		return err == nil
	}
	return file == recordName || file == previousName || file == bootName || isTemp(file)
}

func isTemp(file string) bool {
	return strings.HasPrefix(file, tempPrefix) && strings.HasSuffix(file, tempSuffix)
}
