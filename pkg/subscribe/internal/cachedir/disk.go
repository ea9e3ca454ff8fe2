package cachedir

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Defaults for the patience of a [Disk]. Tests of other things than a disk that hangs increase them in TestMain, because the disk of a
// busy machine may pause for longer.
var (
	// DefaultPatience applies to one operation, which takes microseconds on a working disk.
	DefaultPatience = 500 * time.Millisecond
	// DefaultSyncPatience applies to the sync of one file, which may be large and on a slow disk.
	DefaultSyncPatience = 30 * time.Second
)

// ErrFull is returned when a snapshot is not started because there is not enough free space for it.
var ErrFull = errors.New("not enough free space in the cache folder")

// minSpare is the least free space that must remain after a snapshot, for the version record and for the deltas of refreshes.
const minSpare = 1 << 20

// Disk has the operations and limits of the file system that tests replace.
type Disk struct {
	// Create creates a temporary file, as os.CreateTemp does.
	Create func(dir, pattern string) (*os.File, error)
	// Free returns the free space of the file system of dir; ok is false if it is unknown.
	Free func(dir string) (bytes int64, ok bool)
	// Sync syncs a file or folder; nil means (*os.File).Sync.
	Sync func(f *os.File) error
	// At, if not nil, is called at the start of an operation at the path. The operation hangs while At does not return.
	At func(path string)
	// Patience is how long one operation may take before the folder hangs; 0 means DefaultPatience.
	Patience time.Duration
	// SyncPatience is how long the sync of a file may take before the folder hangs; 0 means DefaultSyncPatience.
	SyncPatience time.Duration
}

// NewDisk returns the disk of the machine.
func NewDisk() Disk { return Disk{Create: os.CreateTemp, Free: free} }

// SetDisk replaces the Disk, in tests and for other limits.
func (d *Dir) SetDisk(disk Disk) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disk = disk.withDefaults()
}

func (d Disk) withDefaults() Disk {
	if d.Sync == nil {
		d.Sync = (*os.File).Sync
	}
	if d.Patience == 0 {
		d.Patience = DefaultPatience
	}
	if d.SyncPatience == 0 {
		d.SyncPatience = DefaultSyncPatience
	}
	return d
}

func (d *Dir) patience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disk.Patience
}

func (d *Dir) syncPatience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disk.SyncPatience
}

// checkSpace fails with [ErrFull] if there is not enough free space for a snapshot of about so many bytes. It requires an eighth more,
// because the number is an estimate, and because the disk must also have space for the deltas of later refreshes, each of which builds on
// the one before.
func (d *Dir) checkSpace(name string, bytes int64) error {
	d.mu.Lock()
	measure := d.disk.Free
	d.mu.Unlock()
	needed := bytes + max(bytes/8, minSpare)
	dir := d.dir(name)
	var ok bool
	free, err := op(d, dir, func() (free int64, err error) { free, ok = measure(dir); return free, nil })
	if err != nil {
		return err
	}
	if ok && free < needed {
		return fmt.Errorf("%w: %s needs %d bytes free, and %d are", ErrFull, d.dir(name), needed, free)
	}
	return nil
}
