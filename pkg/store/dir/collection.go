package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// listPage is how many names a listing holds in memory.
const listPage = 1024

// Objects implements [store.Store].
func (s *Store) Objects(ctx context.Context) iter.Seq2[store.StoredObject, error] {
	return func(yield func(store.StoredObject, error) bool) {
		folders, err := fs.ReadDir(s.root.FS(), layout.ObjectsFolder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(store.StoredObject{}, s.failed("list folder", layout.ObjectsFolder, err))
			return
		}
		for _, folder := range folders {
			if folder.IsDir() && !s.objectsIn(ctx, layout.ObjectsFolder+"/"+folder.Name(), yield) {
				return
			}
		}
	}
}

// objectsIn yields the objects of one folder, and reports whether to go on.
func (s *Store) objectsIn(ctx context.Context, folder string, yield func(store.StoredObject, error) bool) bool {
	fail := func(err error) bool {
		yield(store.StoredObject{}, s.failed("list folder", folder, err))
		return false
	}
	f, err := s.root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	for {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		files, err := f.ReadDir(listPage)
		for _, file := range files {
			d, ok := layout.ParseObjectFile(file.Name())
			if !ok {
				continue
			}
			info, err := file.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
				continue
			}
			if err != nil {
				return fail(err)
			}
			if !yield(store.StoredObject{Digest: d, Bytes: info.Size(), Modified: info.ModTime()}, nil) {
				return false
			}
		}
		if err == io.EOF {
			return true
		}
		if err != nil {
			return fail(err)
		}
	}
}

// RemoveObject implements [store.Store]. Open readers of the object stay usable.
func (s *Store) RemoveObject(_ context.Context, o store.StoredObject) (bool, error) {
	name := layout.Object(o.Digest)
	info, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, s.failed("look for object", name, err)
	case info.Size() != o.Bytes || !info.ModTime().Equal(o.Modified):
		return false, nil
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, s.failed("remove", name, err)
	}
	return true, nil
}

// Clock implements [store.Store].
func (s *Store) Clock(context.Context) (time.Time, error) {
	name, err := s.writeTmp("clock", func(io.Writer) error { return nil })
	if err != nil {
		return time.Time{}, err
	}
	defer s.removeTmp(name)
	info, err := s.root.Lstat(name)
	if err != nil {
		return time.Time{}, s.failed("look for", name, err)
	}
	return info.ModTime(), nil
}

// VersionTimes implements [store.Store].
func (s *Store) VersionTimes(ctx context.Context, name string, from uint64, limit int) ([]store.VersionTime, error) {
	newest, err := s.findNewest(name)
	if err != nil {
		return nil, err
	}
	var times []store.VersionTime
	for version := max(from, 1); version <= newest && (limit <= 0 || len(times) < limit); version++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		file := layout.Version(name, version)
		info, err := s.root.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, s.failed("look for record", file, err)
		}
		times = append(times, store.VersionTime{Version: version, Time: info.ModTime()})
	}
	return times, nil
}

// PutNote implements [store.Store].
func (s *Store) PutNote(_ context.Context, name string, content []byte) error {
	if err := records.CheckNote(name, content); err != nil {
		return err
	}
	if err := s.putRecord("note", layout.Note(name), content, s.root.Rename); err != nil {
		return fmt.Errorf("put note %s: %w", name, err)
	}
	return nil
}

// Notes implements [store.Store].
func (s *Store) Notes(_ context.Context, prefix string) ([]store.NoteInfo, error) {
	entries, err := fs.ReadDir(s.root.FS(), layout.NotesFolder) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.failed("list folder", layout.NotesFolder, err)
	}
	var notes []store.NoteInfo
	for _, e := range entries {
		name, ok := layout.ParseNoteFile(e.Name())
		if !ok || !strings.HasPrefix(name, prefix) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, s.failed("list folder", layout.NotesFolder, err)
		}
		notes = append(notes, store.NoteInfo{Name: name, Modified: info.ModTime()})
	}
	slices.SortFunc(notes, func(a, b store.NoteInfo) int { return strings.Compare(a.Name, b.Name) })
	return notes, nil
}

// Note implements [store.Store].
func (s *Store) Note(_ context.Context, name string) ([]byte, error) {
	if err := layout.CheckNote(name); err != nil {
		return nil, err
	}
	f, err := s.root.Open(layout.Note(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, records.NoNote(name, s.full(layout.Note(name)))
	}
	if err != nil {
		return nil, s.failed("read", layout.Note(name), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, store.MaxNoteBytes+1))
	if err != nil {
		return nil, s.failed("read", layout.Note(name), err)
	}
	return b, nil
}

// DropNote implements [store.Store].
func (s *Store) DropNote(_ context.Context, name string) error {
	if err := layout.CheckNote(name); err != nil {
		return err
	}
	file := layout.Note(name)
	err := s.root.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.failed("remove", file, err)
	}
	return s.syncFolder(path.Dir(file))
}
