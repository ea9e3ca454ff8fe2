package dir

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

	"freshet.dev/pkg/store/internal/layout"
)

// A write has three steps:
//   - The bytes go to a file in tmp, which is synced.
//   - An atomic rename or link gives the file its name.
//   - The folder of that name is synced.
//
// Files are created read-only, because objects and version records never change.
const (
	fileMode   = 0o444
	folderMode = 0o755
)

// writeTmp creates a file in tmp, calls fill to write its content, syncs it and returns its name. After an error it leaves no file.
func (s *Store) writeTmp(kind string, fill func(io.Writer) error) (name string, err error) {
	if err := s.makeFolder(layout.TmpFolder); err != nil {
		return "", err
	}
	s.sweep()
	name = fmt.Sprintf("%s/%s-%d-%s", layout.TmpFolder, kind, os.Getpid(), rand.Text())
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", s.failed("create", name, err)
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
		err = s.failed("write", name, err)
	}
	s.removeTmp(name)
	return "", err
}

// unsynced is the error about a file that has its name, and may lose it when the machine fails.
type unsynced struct{ error }

func (u unsynced) Unwrap() error { return u.error }

// publish names the file tmp with link or rename, and syncs the folder of that name. It removes tmp in any case. If the file has its name
// and the sync fails, the error is an unsynced.
func (s *Store) publish(tmp, name string, linkOrRename func(from, to string) error) error {
	err := s.makeFolder(path.Dir(name))
	if err == nil {
		if err = linkOrRename(tmp, name); err != nil {
			err = s.failed("name", name, err)
		}
	}
	s.removeTmp(tmp) // after a link this is the file's second name, after a rename it does not exist
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also if the name exists: the caller may build on the file, and its writer may not have synced the folder yet.
	e := s.syncFolder(path.Dir(name))
	switch {
	case e == nil:
		return err
	case err == nil:
		return unsynced{e}
	default:
		return e
	}
}

// putRecord writes b to a file, and names it with link or rename. kind is part of the name of the temporary file. A link to an existing
// name fails with fs.ErrExist.
func (s *Store) putRecord(kind, name string, b []byte, linkOrRename func(from, to string) error) error {
	tmp, err := s.writeTmp(kind, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return s.publish(tmp, name, linkOrRename)
}

// removeTmp removes a file in tmp. A file that cannot be removed is never read, and a later sweep removes it.
func (s *Store) removeTmp(name string) { _ = s.root.Remove(name) }

// sweep removes the files of dead uploads from tmp, at most once in layout.StaleAfter.
func (s *Store) sweep() {
	s.mu.Lock()
	due := time.Since(s.swept) > layout.StaleAfter
	if due {
		s.swept = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	entries, err := fs.ReadDir(s.root.FS(), layout.TmpFolder)
	if err != nil {
		return // leftovers only occupy space, so the upload goes on
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > layout.StaleAfter {
			s.removeTmp(layout.TmpFolder + "/" + e.Name())
		}
	}
}

// makeFolder creates a folder of the store with all folders above it. When it returns nil they are on disk.
func (s *Store) makeFolder(name string) error {
	if above := path.Dir(name); above != "." {
		if err := s.makeFolder(above); err != nil {
			return err
		}
	}
	err := s.root.Mkdir(name, folderMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return s.failed("make folder", name, err)
	}
	s.mu.Lock()
	known := err != nil && s.durable[name]
	s.mu.Unlock()
	if known {
		return nil
	}
	// Another process may have created the folder without having synced it yet.
	if err := s.syncFolder(path.Dir(name)); err != nil {
		return err
	}
	s.mu.Lock()
	s.durable[name] = true
	s.mu.Unlock()
	return nil
}

// syncFolder syncs the folder: when it returns nil, the names in it are on disk.
func (s *Store) syncFolder(name string) error {
	f, err := s.root.Open(name)
	if err != nil {
		return s.failed("open folder", name, err)
	}
	if err := syncAndClose(f); err != nil {
		return s.failed("sync folder", name, err)
	}
	return nil
}

// createFolder creates the folder of a store with all folders above it. When it returns nil, the folders that it created are on disk.
func createFolder(folder string) error {
	var created []string
	for f := folder; ; f = filepath.Dir(f) {
		_, err := os.Stat(f)
		if err == nil || f == filepath.Dir(f) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		created = append(created, f)
	}
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	for _, c := range created {
		f, err := os.Open(filepath.Dir(c))
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
		err = nil // some network file systems cannot sync folders, and there is no other way
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
