package cachedir

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Patience of a [Disk] that sets none. Tests that are not about a disk that hangs raise them in TestMain: a disk of a machine with much
// else to do may pause for longer.
var (
	// DefaultPatience is for one operation, which takes microseconds on a disk that works.
	DefaultPatience = 500 * time.Millisecond
	// DefaultSyncPatience is for the sync of one file, which may be a large one on a slow disk.
	DefaultSyncPatience = 30 * time.Second
)

// ErrFull is wrapped when a snapshot is not begun because there is no room for it.
var ErrFull = errors.New("no room in the cache folder")

// leastSpare is what has to be free beside a snapshot, at the least: for the version record, and for refreshes' deltas.
const leastSpare = 1 << 20

// Disk is what a Dir asks of its file system.
type Disk struct {
	// Create makes a temporary file, as os.CreateTemp does.
	Create func(dir, pattern string) (*os.File, error)
	// Free returns how many bytes more the file system of dir has room for; ok is false if that is not known.
	Free func(dir string) (bytes int64, ok bool)
	// At, if not nil, is called when an operation at the path begins. The operation hangs for as long as At does.
	At func(path string)
	// Patience is how long one operation may take before the folder hangs; 0 stands for DefaultPatience.
	Patience time.Duration
	// SyncPatience is how long the sync of a file may take before the folder hangs; 0 stands for DefaultSyncPatience.
	SyncPatience time.Duration
}

// NewDisk returns the disk of the machine.
func NewDisk() Disk { return Disk{Create: os.CreateTemp, Free: free} }

// SetDisk has the Dir use another file system from now on: a test's, which is full when it has to be.
func (d *Dir) SetDisk(disk Disk) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disk = disk.withDefaults()
}

func (d Disk) withDefaults() Disk {
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

// room says how there is no room for a snapshot of about so many bytes. An eighth more is wanted: the number is a
// guess, and a disk that is full to the brim could not take the deltas of the refreshes meanwhile, each of which must
// be there for the next.
func (d *Dir) room(name string, bytes int64) error {
	d.mu.Lock()
	measure := d.disk.Free
	d.mu.Unlock()
	needed := bytes + max(bytes/8, leastSpare)
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
