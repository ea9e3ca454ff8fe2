package cachedir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"freshet.dev/pkg/dataset"
)

// bootName is the file with the version that a process tries, and the versions that processes died of.
const bootName = "boot.json"

// maxBoot bounds the versions with deaths in boot.json, and the confirmed versions.
const maxBoot = 8

// maxBootBytes is above the largest size of boot.json.
const maxBootBytes = 64 << 10

// Boot is the content of boot.json. Only the process that holds the folder writes the file.
type Boot struct {
	// Trying is the version that the process loads, or serves without having confirmed it; nil if there is none. A process that stops
	// normally clears it.
	Trying *Trial `json:"trying,omitempty"`
	// Deaths are the versions that processes died of, in the order of their last death.
	Deaths []Deaths `json:"deaths,omitempty"`
	// Confirmed are the versions that a process survived, in the order of confirmation.
	Confirmed []dataset.Ref `json:"confirmed,omitempty"`
}

// Trial is a version that is being tried.
type Trial struct {
	dataset.Ref
	// Boot is the boot id of the machine.
	Boot string `json:"boot"`
	// First is when a process first tried the version, in nanoseconds since 1970.
	First int64 `json:"first"`
}

// Deaths counts the processes that died while they tried a version.
type Deaths struct {
	dataset.Ref
	Count int   `json:"count"`
	First int64 `json:"first"` // see Trial.First
}

// Died counts a death of the version, and returns the deaths of the version.
func (b *Boot) Died(t Trial) Deaths {
	deaths := Deaths{t.Ref, 1 + b.Of(t.ID).Count, t.First}
	b.Set(deaths)
	return deaths
}

// Of returns the deaths of the version; the zero Deaths if there are none.
func (b *Boot) Of(id dataset.VersionID) Deaths {
	for _, d := range b.Deaths {
		if d.ID == id {
			return d
		}
	}
	return Deaths{}
}

// Set replaces the deaths of the version of d.
func (b *Boot) Set(d Deaths) {
	b.Deaths = slices.DeleteFunc(b.Deaths, func(old Deaths) bool { return old.ID == d.ID })
	b.Deaths = last(append(b.Deaths, d))
}

// Confirm records that a process survived the version, and drops its deaths.
func (b *Boot) Confirm(ref dataset.Ref) {
	b.Deaths = slices.DeleteFunc(b.Deaths, func(d Deaths) bool { return d.ID == ref.ID })
	b.Confirmed = slices.DeleteFunc(b.Confirmed, func(c dataset.Ref) bool { return c.ID == ref.ID })
	b.Confirmed = last(append(b.Confirmed, ref))
}

// IsConfirmed reports whether a process survived the version.
func (b *Boot) IsConfirmed(id dataset.VersionID) bool {
	return slices.ContainsFunc(b.Confirmed, func(c dataset.Ref) bool { return c.ID == id })
}

func last[T any](all []T) []T { return all[max(0, len(all)-maxBoot):] }

// BootPath returns the path of the dataset's boot.json.
func (d *Dir) BootPath(name string) string { return filepath.Join(d.dir(name), bootName) }

// Boot returns the content of the dataset's boot.json. A missing or unreadable file counts as empty, so the count of deaths starts at 0.
func (d *Dir) Boot(name string) Boot {
	b, _ := d.ReadBoot(name)
	return b
}

// ReadBoot is Boot, but returns [ErrHangs] if the folder hangs. It returns no other error.
func (d *Dir) ReadBoot(name string) (Boot, error) {
	return Do(d, func() (Boot, error) { return d.boot(name), nil }, nil)
}

func (d *Dir) boot(name string) Boot {
	var b Boot
	text, err := d.readFile(d.BootPath(name))
	if err != nil || json.Unmarshal(text, &b) != nil {
		return Boot{}
	}
	return b
}

// HasBoot reports whether the dataset has a boot.json. It returns no other error than [ErrHangs].
func (d *Dir) HasBoot(name string) (bool, error) {
	return Do(d, func() (bool, error) {
		_, err := d.stat(d.BootPath(name))
		return !errors.Is(err, fs.ErrNotExist), nil
	}, nil)
}

// bootWrites orders the writes of the boot.json of a dataset.
type bootWrites struct {
	calls atomic.Uint64 // of SetBoot and RemoveBoot

	mu   sync.Mutex // held while the file is written or removed, but not while it is synced
	last uint64     // the latest call that wrote or removed the file; guarded by mu
}

// bootWrites returns the bootWrites of the dataset.
func (d *Dir) bootWrites(name string) *bootWrites {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.boots[name]
	if w == nil {
		w = new(bootWrites)
		d.boots[name] = w
	}
	return w
}

// changeBoot runs change, which writes or removes the dataset's boot.json. It does nothing if a later call has changed the file: the call
// may have been abandoned because the disk hung.
func (d *Dir) changeBoot(name string, change func() error) error {
	w := d.bootWrites(name)
	call := w.calls.Add(1)
	return d.do(func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if call < w.last {
			return nil
		}
		w.last = call
		return change()
	})
}

// RemoveBoot removes boot.json of the dataset.
func (d *Dir) RemoveBoot(name string) error {
	return d.changeBoot(name, func() error { return d.remove(d.BootPath(name)) })
}

// SetBoot writes the dataset's boot.json. Calls for one dataset must not overlap. SetBoot overwrites the file in place without a sync. That
// takes microseconds, and is enough because the bytes survive the death of the process, and a reboot does not count as a death. SetBoot
// fails with [ErrShared] while another process holds the folder.
func (d *Dir) SetBoot(name string, b Boot) error {
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.BootPath(name), err)
	}
	return d.changeBoot(name, func() error {
		if err := d.own(); err != nil {
			return err
		}
		if err := d.setBoot(name, text); err != nil {
			return fmt.Errorf("write %s: %w", d.BootPath(name), err)
		}
		return nil
	})
}

func (d *Dir) setBoot(name string, text []byte) error {
	err := d.overwrite(d.BootPath(name), text)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := d.mkdir(d.dir(name)); err != nil {
		return err
	}
	temp := filepath.Join(d.dir(name), tempPrefix+"boot"+tempSuffix)
	d.mu.Lock()
	d.temps[temp] = true
	d.mu.Unlock()
	defer d.releaseTemp(temp)
	return d.replace(temp, bootName, text)
}

// SyncBoot syncs the dataset's boot.json and its folder, so that the content of the last SetBoot survives a power failure. It blocks no
// other call, and ends when ctx does. The sync then continues in the background, and the folder hangs if that takes longer than the
// patience for the sync of a file.
func (d *Dir) SyncBoot(ctx context.Context, name string) error {
	synced := make(chan error, 1)
	go func() {
		synced <- d.do(func() error { return errors.Join(d.sync(d.BootPath(name)), d.sync(d.dir(name))) })
	}()
	var err error
	select {
	case err = <-synced:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", d.BootPath(name), err)
	}
	return nil
}

// overwrite replaces the content of the file in one write. Spaces, which JSON allows at the end, replace the rest of a longer content,
// because a truncation would make the file system write the file to the disk.
func (d *Dir) overwrite(path string, text []byte) error {
	file, err := d.openFile(path, os.O_WRONLY)
	if err != nil {
		return err
	}
	info, err := op(d, path, file.Stat)
	switch {
	case err != nil:
	case info.Size() > maxBootBytes:
		err = fs.ErrNotExist // this package did not write it
	default:
		spaces := max(0, int(info.Size())-len(text))
		err = d.write(file, append(text, bytes.Repeat([]byte{' '}, spaces)...))
	}
	return errors.Join(err, d.closeFile(file))
}

// Own creates the folder if it does not exist, and takes its lock. It fails with [ErrShared] while another process holds the lock.
func (d *Dir) Own() error {
	if d.owned() {
		return nil
	}
	return d.do(d.own)
}

// replace writes text to the path temp, and renames that file to name in the same folder. It syncs neither.
func (d *Dir) replace(temp, name string, text []byte) error {
	file, err := d.openFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = errors.Join(d.write(file, text), d.closeFile(file))
	if err == nil {
		err = d.rename(temp, filepath.Join(filepath.Dir(temp), name))
	}
	if err != nil {
		_ = d.remove(temp)
	}
	return err
}
