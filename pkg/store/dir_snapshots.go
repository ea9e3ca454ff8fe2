package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"freshet.dev/pkg/dataset"
)

func (d *dir) PutSnapshot(_ context.Context, rec dataset.SnapshotRecord) error {
	return d.putSnapshot(rec, d.root.Link)
}

func (d *dir) RepairSnapshot(_ context.Context, rec dataset.SnapshotRecord) error {
	return d.putSnapshot(rec, d.root.Rename)
}

// putSnapshot writes a snapshot record, which gets its name by link or rename.
func (d *dir) putSnapshot(rec dataset.SnapshotRecord, by func(from, to string) error) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	err = d.putSmall("snapshot", snapshotRecordName(rec.Dataset, rec.Object.Version), b, by)
	if errors.Is(err, fs.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("put snapshot record %s: %w", rec.ID(), err)
	}
	return nil
}

func (d *dir) NewestSnapshot(_ context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.SnapshotRecord{}, err
	}
	newest, err := d.newestSnapshot(name, after, upTo)
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	if newest == 0 {
		return dataset.SnapshotRecord{}, noSnapshot(name, after, upTo, d)
	}
	file := snapshotRecordName(name, newest)
	b, err := d.readSmall(file)
	if odd, ok := errors.AsType[oddFile](err); ok {
		err = damagedSnapshot(name, newest, d.full(file), odd)
	}
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	return decodeSnapshotRecord(b, name, newest, d.full(file))
}

// maxProbes is how many versions are looked for one by one: a few µs each. A folder is never emptied of old records,
// so to list it takes longer and longer.
const maxProbes = 4 * 1024

// newestSnapshot returns the highest version above after, up to upTo, that has a snapshot record; 0 if none has.
func (d *dir) newestSnapshot(name string, after, upTo uint64) (uint64, error) {
	if upTo > after && upTo-after > maxProbes {
		return d.highest(snapshotsName(name), after, upTo)
	}
	for version := upTo; version > after; version-- {
		file := snapshotRecordName(name, version)
		_, err := d.root.Lstat(file)
		if err == nil {
			return version, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, d.failed("look for", file, err)
		}
	}
	return 0, nil
}
