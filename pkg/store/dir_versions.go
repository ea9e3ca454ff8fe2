package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"freshet.dev/pkg/dataset"
)

func (d *dir) PutVersion(_ context.Context, rec dataset.VersionRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	newest, err := d.findNewest(rec.Dataset)
	if err != nil {
		return err
	}
	if err := checkNext(rec, newest); err != nil {
		return err
	}
	tmp, err := d.writeTmp("version", func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	// A link fails if the name is taken, in one step also among processes; a rename would replace.
	err = d.publish(tmp, recordName(rec.Dataset, rec.Version), d.root.Link)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("commit %s: %w: another publisher committed it at the same time", rec.ID(), ErrExists)
	case errors.Is(err, syscall.EPERM), errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EMLINK):
		return fmt.Errorf("commit %s: %w: its file system has no hard links, which commits need; move the store to another: %w",
			rec.ID(), ErrUnusable, err)
	case err != nil:
		return fmt.Errorf("commit %s: %w", rec.ID(), err)
	}
	d.mu.Lock()
	d.newest[rec.Dataset] = max(d.newest[rec.Dataset], rec.Version)
	d.mu.Unlock()
	return nil
}

func (d *dir) Version(_ context.Context, name string, version uint64) (dataset.VersionRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.VersionRecord{}, err
	}
	file := recordName(name, version)
	b, err := d.readSmall(file)
	if errors.Is(err, ErrNotFound) {
		return dataset.VersionRecord{}, fmt.Errorf("%s version %d: %w %s", name, version, ErrNotFound, d)
	}
	if odd, ok := errors.AsType[oddFile](err); ok {
		return dataset.VersionRecord{}, damagedRecord(name, version, d.full(file), odd)
	}
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	return decodeRecord(b, name, version, d.full(file))
}

// oddFile says why something in the place of a record cannot be one.
type oddFile string

func (o oddFile) Error() string { return string(o) }

// readSmall returns the content of a record's file, or ErrNotFound, or an oddFile.
func (d *dir) readSmall(file string) ([]byte, error) {
	info, err := d.root.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		return nil, d.failed("read record", file, err)
	case !info.Mode().IsRegular():
		return nil, oddFile(fmt.Sprintf("it is not a regular file (%v)", info.Mode()))
	case info.Size() > dataset.MaxRecordBytes:
		return nil, oddFile(fmt.Sprintf("it has %d bytes, the most is %d", info.Size(), dataset.MaxRecordBytes))
	}
	b, err := d.root.ReadFile(file)
	if err != nil {
		return nil, d.failed("read record", file, err)
	}
	return b, nil
}

func (d *dir) Latest(ctx context.Context, name string) (dataset.VersionRecord, error) {
	newest, err := d.findNewest(name)
	if err != nil {
		return dataset.VersionRecord{}, err
	}
	if newest == 0 {
		return dataset.VersionRecord{}, fmt.Errorf("a version of dataset %s: %w %s", name, ErrNotFound, d)
	}
	return d.Version(ctx, name, newest)
}

func (d *dir) Versions(ctx context.Context, name string, before uint64, limit int) ([]dataset.VersionRecord, error) {
	newest, err := d.findNewest(name)
	if err != nil {
		return nil, err
	}
	from, n := page(newest, before, limit)
	var recs []dataset.VersionRecord
	var damaged RecordErrors
	for i := range n {
		if err := context.Cause(ctx); err != nil {
			return recs, err
		}
		version := from - uint64(i)
		rec, err := d.Version(ctx, name, version)
		if errors.Is(err, ErrNotFound) {
			err = missingRecord(name, version, newest, d.full(recordName(name, version)))
		}
		switch {
		case err == nil:
			recs = append(recs, rec)
		case !damaged.add(err):
			return recs, err
		}
	}
	return recs, damaged.orNil()
}

func (d *dir) Datasets(ctx context.Context) ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), versionsFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("list folder", versionsFolder, err)
	}
	var names []string
	for _, e := range entries {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if !e.IsDir() || dataset.CheckName(e.Name()) != nil {
			continue
		}
		// The folder alone is no dataset: it is there from just before the first commit.
		newest, err := d.findNewest(e.Name())
		if err != nil {
			return nil, err
		}
		if newest > 0 {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *dir) Newest(ctx context.Context) (newest map[string]dataset.Ref, unread map[string]error, err error) {
	entries, err := fs.ReadDir(d.root.FS(), versionsFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, d.failed("list folder", versionsFolder, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && dataset.CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	newest, unread = d.rounds.read(ctx, names, func(name string) (dataset.Ref, error) {
		rec, err := d.Latest(ctx, name)
		if errors.Is(err, ErrNotFound) { // the folder alone is no dataset
			return dataset.Ref{}, nil
		}
		if err != nil {
			return dataset.Ref{}, err
		}
		return rec.Ref(), nil
	})
	return newest, unread, nil
}

// findNewest returns the newest version of the dataset, 0 if it has none. The first call for a dataset lists its
// folder; later ones start from what the one before found and look for 2 + 2*log2(versions since) names.
func (d *dir) findNewest(name string) (uint64, error) {
	if err := dataset.CheckName(name); err != nil {
		return 0, err
	}
	d.mu.Lock()
	known := d.newest[name]
	d.mu.Unlock()
	there := known > 0
	var err error
	if there {
		// It is gone if the store was replaced by an older copy of it: then nothing we know of it holds.
		if there, err = d.hasVersion(name, known); err != nil {
			return 0, err
		}
	}
	newest := uint64(0)
	if there {
		newest, err = lastOf(known, func(v uint64) (bool, error) { return d.hasVersion(name, v) })
	} else {
		newest, err = d.listNewest(name)
	}
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.newest[name] = newest
	d.mu.Unlock()
	return newest, nil
}

// lastOf returns the last version of the unbroken row that known, which exists, stands in.
func lastOf(known uint64, exists func(uint64) (bool, error)) (uint64, error) {
	low, step := known, uint64(1) // low exists
	for {
		ok, err := exists(low + step)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low += step
		step *= 2
	}
	for high := low + step; high-low > 1; { // high does not exist
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

func (d *dir) hasVersion(name string, version uint64) (bool, error) {
	file := recordName(name, version)
	_, err := d.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, d.failed("look for version record", file, err)
	}
	return true, nil
}

// listNewest returns the newest version in the dataset's folder, 0 if there is none.
func (d *dir) listNewest(name string) (uint64, error) {
	return d.highest(versionsName(name), 0, maxVersion)
}

// highest returns the highest version above after, up to upTo, that has a record in the folder; 0 if none has. It holds
// a bounded number of names in memory.
func (d *dir) highest(folder string, after, upTo uint64) (uint64, error) {
	f, err := d.root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, d.failed("list folder", folder, err)
	}
	defer f.Close()
	newest := uint64(0)
	for {
		files, err := f.Readdirnames(1024)
		for _, file := range files {
			if version, ok := parseRecordFile(file); ok && after < version && version <= upTo {
				newest = max(newest, version)
			}
		}
		if err == io.EOF {
			return newest, nil
		}
		if err != nil {
			return 0, d.failed("list folder", folder, err)
		}
	}
}
