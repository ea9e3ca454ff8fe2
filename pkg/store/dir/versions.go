package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutVersion implements [store.Store].
func (s *Store) PutVersion(_ context.Context, rec dataset.VersionRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	newest, err := s.findNewest(rec.Dataset)
	if err != nil {
		return err
	}
	if err := records.CheckNext(rec, newest); err != nil {
		return err
	}
	tmp, err := s.writeTmp("version", func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	// A link to an existing name fails, atomically also among processes. A rename would replace the record.
	err = s.publish(tmp, layout.Version(rec.Dataset, rec.Version), s.root.Link)
	_, exists := errors.AsType[unsynced](err)
	switch {
	case exists:
		return fmt.Errorf("commit %s: %w: %w", rec.ID(), store.ErrUnknown, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("commit %s: %w: another publisher committed it at the same time", rec.ID(), store.ErrExists)
	case errors.Is(err, syscall.EPERM), errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EMLINK):
		return fmt.Errorf("commit %s: %w: its file system has no hard links, which commits need; move the store to another: %w",
			rec.ID(), store.ErrUnusable, err)
	case err != nil:
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	folder := layout.Versions(rec.Dataset)
	s.mu.Lock()
	s.newest[folder] = max(s.newest[folder], rec.Version)
	s.mu.Unlock()
	return nil
}

// Version implements [store.Store].
func (s *Store) Version(_ context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, err
	}
	file := layout.Version(name, version)
	b, err := s.readRecord(file)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.VersionRecord{}, records.NoVersion(name, version, s)
	}
	if why, ok := errors.AsType[notRecord](err); ok {
		return dataset.VersionRecord{}, records.DamagedVersion(name, version, s.full(file), why)
	}
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	return records.DecodeVersion(b, name, version, s.full(file))
}

// notRecord is the error for a file, at the path of a record, that cannot be one.
type notRecord string

func (n notRecord) Error() string { return string(n) }

// readRecord returns the content of a record's file. It fails with [store.ErrNotFound] or a notRecord.
func (s *Store) readRecord(file string) ([]byte, error) {
	info, err := s.root.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, s.failed("read record", file, err)
	case !info.Mode().IsRegular():
		return nil, notRecord(fmt.Sprintf("it is not a regular file (%v)", info.Mode()))
	case info.Size() > dataset.MaxRecordBytes:
		return nil, notRecord(fmt.Sprintf("it has %d bytes, the most is %d", info.Size(), dataset.MaxRecordBytes))
	}
	b, err := s.root.ReadFile(file)
	if err != nil {
		return nil, s.failed("read record", file, err)
	}
	return b, nil
}

// Latest implements [store.Store].
func (s *Store) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	newest, err := s.findNewest(name)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if newest == 0 {
		return dataset.VersionRecord{}, records.NoVersions(name, s)
	}
	return s.Version(ctx, name, newest)
}

// Versions implements [store.Store].
func (s *Store) Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error) {
	newest, err := s.findNewest(name)
	if err != nil {
		return nil, err
	}
	from, n := records.Page(newest, before, limit)
	var list records.List
	for i := range n {
		if err := context.Cause(ctx); err != nil {
			return list.Records(), err
		}
		version := from - uint64(i)
		rec, err := s.Version(ctx, name, version)
		if errors.Is(err, store.ErrNotFound) {
			err = records.MissingVersion(name, version, newest, s.full(layout.Version(name, version)))
		}
		if err := list.Add(rec, err); err != nil {
			return list.Records(), err
		}
	}
	return list.Records(), list.Err()
}

// Datasets implements [store.Store].
func (s *Store) Datasets(ctx context.Context) ([]string, error) {
	return s.foldersWithRecords(ctx, layout.VersionsFolder)
}

// Newest implements [store.Store].
func (s *Store) Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error) {
	entries, err := fs.ReadDir(s.root.FS(), layout.VersionsFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, s.failed("list folder", layout.VersionsFolder, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && dataset.CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	newest, unread = s.datasets.Read(ctx, names, func(name string) (dataset.Ref, error) {
		rec, err := s.Latest(ctx, name)
		if errors.Is(err, store.ErrNotFound) { // a folder alone is no dataset
			return dataset.Ref{}, nil
		}
		if err != nil {
			return dataset.Ref{}, err
		}
		return rec.Ref(), nil
	})
	return newest, unread, nil
}

// findNewest returns the newest version of the dataset, 0 if it has none.
func (s *Store) findNewest(name string) (uint64, error) {
	if err := dataset.CheckName(name); err != nil {
		return 0, err
	}
	return s.newestIn(layout.Versions(name))
}

// newestIn returns the highest number of a record in the folder, 0 if it has none. The numbers have no gaps. The first call for a folder
// lists it. Later calls start from the result of the call before and look up 2 + 2*log2(records since) names.
func (s *Store) newestIn(folder string) (uint64, error) {
	s.mu.Lock()
	known := s.newest[folder]
	s.mu.Unlock()
	exists := known > 0
	var err error
	if exists {
		// The record is missing if an older copy replaced the store. Then the known number is of no use.
		if exists, err = s.hasRecord(folder, known); err != nil {
			return 0, err
		}
	}
	newest := uint64(0)
	if exists {
		newest, err = lastOf(known, func(n uint64) (bool, error) { return s.hasRecord(folder, n) })
	} else {
		newest, err = s.highest(folder, 0, layout.MaxVersion)
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.newest[folder] = newest
	s.mu.Unlock()
	return newest, nil
}

// lastOf returns the last version of the sequence without a gap that contains known, which exists.
func lastOf(known uint64, exists func(uint64) (bool, error)) (uint64, error) {
	low, stride := known, uint64(1) // low exists
	for {
		ok, err := exists(low + stride)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low += stride
		stride *= 2
	}
	for high := low + stride; high-low > 1; { // high does not exist
		mid := low + (high-low)/2
		ok, err := exists(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

func (s *Store) hasRecord(folder string, number uint64) (bool, error) {
	file := folder + "/" + layout.RecordFile(number)
	_, err := s.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, s.failed("look for record", file, err)
	}
	return true, nil
}

// highest returns the highest version above after, up to upTo, that has a record in the folder; 0 if there is none. It holds a bounded
// number of names in memory.
func (s *Store) highest(folder string, after, upTo uint64) (uint64, error) {
	f, err := s.root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, s.failed("list folder", folder, err)
	}
	defer f.Close()
	newest := uint64(0)
	for {
		files, err := f.Readdirnames(1024)
		for _, file := range files {
			if version, ok := layout.ParseRecordFile(file); ok && after < version && version <= upTo {
				newest = max(newest, version)
			}
		}
		if err == io.EOF {
			return newest, nil
		}
		if err != nil {
			return 0, s.failed("list folder", folder, err)
		}
	}
}
