package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// What is written becomes visible in three steps: the bytes go to a file in tmp and are synced; a rename or link,
// which is atomic, gives the file its name; the folder of that name is synced. Files are read-only from the start,
// because nothing changes an object or a version record.
const (
	fileMode   = 0o444
	folderMode = 0o755
)

// writeTmp returns the name of a file in tmp that has what fill writes and is on disk. It leaves no file on an error.
func (d *dir) writeTmp(what string, fill func(io.Writer) error) (name string, err error) {
	if err := d.makeFolder(tmpFolder); err != nil {
		return "", err
	}
	d.sweep()
	name = fmt.Sprintf("%s/%s-%d-%s", tmpFolder, what, os.Getpid(), rand.Text())
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", d.failed("create", name, err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		return name, nil
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) && e.Path == f.Name() {
		err = d.failed("write", name, err)
	}
	d.removeTmp(name)
	return "", err
}

// publish gives the file tmp its name by link or rename, and syncs the folder of that name. tmp is gone afterwards.
func (d *dir) publish(tmp, name string, by func(from, to string) error) error {
	err := d.makeFolder(path.Dir(name))
	if err == nil {
		if err = by(tmp, name); err != nil {
			err = d.failed("name", name, err)
		}
	}
	d.removeTmp(tmp) // after a link this is the second name, after a rename there is none
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also when somebody else was first: who is told that it exists may build on it.
	if e := d.syncFolder(path.Dir(name)); e != nil {
		return e
	}
	return err
}

// putSmall writes b, which holds what, into the file name, which gets its name by link or rename. The error of a link to a name that
// is there is an fs.ErrExist.
func (d *dir) putSmall(what, name string, b []byte, by func(from, to string) error) error {
	tmp, err := d.writeTmp(what, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return d.publish(tmp, name, by)
}

// removeTmp removes a file of tmp. What cannot be removed is never read, and is swept up one day.
func (d *dir) removeTmp(name string) { _ = d.root.Remove(name) }

// sweep removes what dead uploads left in tmp, at most once in staleAfter.
func (d *dir) sweep() {
	d.mu.Lock()
	due := time.Since(d.swept) > staleAfter
	if due {
		d.swept = time.Now()
	}
	d.mu.Unlock()
	if !due {
		return
	}
	entries, err := fs.ReadDir(d.root.FS(), tmpFolder)
	if err != nil {
		return // leftovers only take space: no reason to fail an upload
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > staleAfter {
			d.removeTmp(tmpFolder + "/" + e.Name())
		}
	}
}

// makeFolder makes the folder name of the store and all above it, and has them on disk when it returns nil.
func (d *dir) makeFolder(name string) error {
	if above := path.Dir(name); above != "." {
		if err := d.makeFolder(above); err != nil {
			return err
		}
	}
	err := d.root.Mkdir(name, folderMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return d.failed("make folder", name, err)
	}
	d.mu.Lock()
	known := err != nil && d.durable[name]
	d.mu.Unlock()
	if known {
		return nil
	}
	// A folder that is there already may be another process's, which has not synced it yet.
	if err := d.syncFolder(path.Dir(name)); err != nil {
		return err
	}
	d.mu.Lock()
	d.durable[name] = true
	d.mu.Unlock()
	return nil
}

// syncFolder has the names in the folder on disk when it returns nil.
func (d *dir) syncFolder(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return d.failed("open folder", name, err)
	}
	if err := syncAndClose(f); err != nil {
		return d.failed("sync folder", name, err)
	}
	return nil
}

// makeFolder makes the folder and all above it, and has those that it made on disk when it returns nil.
func makeFolder(folder string) error {
	var made []string
	for f := folder; ; f = filepath.Dir(f) {
		_, err := os.Stat(f)
		if err == nil || f == filepath.Dir(f) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, f)
	}
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	for _, m := range made {
		f, err := os.Open(filepath.Dir(m))
		if err != nil {
			return err
		}
		if err := syncAndClose(f); err != nil {
			return err
		}
	}
	return nil
}

func syncAndClose(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // some network file systems know no sync of folders: there is nothing more to ask of them
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
