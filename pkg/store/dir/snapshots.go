package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutSnapshot implements [store.Store].
func (s *Store) PutSnapshot(_ context.Context, rec dataset.SnapshotRecord) error {
	return s.putSnapshot(rec, s.root.Link)
}

// RepairSnapshot implements [store.Store].
func (s *Store) RepairSnapshot(_ context.Context, rec dataset.SnapshotRecord) error {
	return s.putSnapshot(rec, s.root.Rename)
}

// putSnapshot writes a snapshot record, and names it with link or rename.
func (s *Store) putSnapshot(rec dataset.SnapshotRecord, linkOrRename func(from, to string) error) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	err = s.putRecord("snapshot", layout.Snapshot(rec.Dataset, rec.Object.Version), b, linkOrRename)
	if errors.Is(err, fs.ErrExist) {
		err = store.ErrExists
	}
	if err != nil {
		return fmt.Errorf("put snapshot record %s: %w", rec.ID(), err)
	}
	return nil
}

// NewestSnapshot implements [store.Store].
func (s *Store) NewestSnapshot(_ context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.SnapshotRecord{}, err
	}
	newest, err := s.newestSnapshot(name, after, upTo)
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	if newest == 0 {
		return dataset.SnapshotRecord{}, records.NoSnapshot(name, after, upTo, s)
	}
	file := layout.Snapshot(name, newest)
	b, err := s.readRecord(file)
	if why, ok := errors.AsType[notRecord](err); ok {
		err = records.DamagedSnapshot(name, newest, s.full(file), why)
	}
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	return records.DecodeSnapshot(b, name, newest, s.full(file))
}

// maxProbes is the largest number of versions that newestSnapshot looks up one by one, at a few µs each. Listing the folder takes longer
// over time, because old records are never removed.
const maxProbes = 4 * 1024

// newestSnapshot returns the highest version above after, up to upTo, that has a snapshot record; 0 if there is none.
func (s *Store) newestSnapshot(name string, after, upTo uint64) (uint64, error) {
	if upTo > after && upTo-after > maxProbes {
		return s.highest(layout.Snapshots(name), after, upTo)
	}
	for version := upTo; version > after; version-- {
		file := layout.Snapshot(name, version)
		_, err := s.root.Lstat(file)
		if err == nil {
			return version, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, s.failed("look for", file, err)
		}
	}
	return 0, nil
}
