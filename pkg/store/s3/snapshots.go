package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// PutSnapshot implements [store.Store].
func (s *Store) PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if _, err := s.commit(ctx, layout.Snapshot(rec.Dataset, rec.Object.Version), b); err != nil {
		return fmt.Errorf("put snapshot record %s: %w", rec.ID(), err)
	}
	return nil
}

// RepairSnapshot implements [store.Store].
func (s *Store) RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	name := layout.Snapshot(rec.Dataset, rec.Object.Version)
	digest := dataset.Digest(sha256.Sum256(b))
	if _, err = s.core.PutObject(ctx, s.settings.bucket, s.key(name), bytes.NewReader(b), int64(len(b)), "", digest.String(), objectOptions()); err != nil {
		return fmt.Errorf("repair snapshot record %s: %w", rec.ID(), s.failed("put snapshot record", name, err))
	}
	return nil
}

// NewestSnapshot implements [store.Store]. It costs one list request for each page (1000) of snapshot records after the version after,
// and a read.
func (s *Store) NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.SnapshotRecord{}, err
	}
	newest := uint64(0)
	for from := after; from < upTo; {
		snapshots, err := s.listFrom(ctx, layout.Snapshots(name), from+1, s.pageKeys)
		if err != nil {
			return dataset.SnapshotRecord{}, err
		}
		for _, f := range snapshots {
			if f.version <= upTo {
				newest = f.version
			}
		}
		if len(snapshots) < s.pageKeys {
			break
		}
		from = snapshots[len(snapshots)-1].version
	}
	if newest == 0 {
		return dataset.SnapshotRecord{}, records.NoSnapshot(name, after, upTo, s)
	}
	file := layout.Snapshot(name, newest)
	b, _, err := s.readRecord(ctx, file)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.SnapshotRecord{}, records.NoSnapshot(name, after, upTo, s) // removed since it was listed
	}
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	return records.DecodeSnapshot(b, name, newest, s.full(file))
}
