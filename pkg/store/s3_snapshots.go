package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
)

func (s *s3) PutSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if _, err := s.commit(ctx, snapshotRecordName(rec.Dataset, rec.Object.Version), b); err != nil {
		return fmt.Errorf("put snapshot record %s: %w", rec.ID(), err)
	}
	return nil
}

func (s *s3) RepairSnapshot(ctx context.Context, rec dataset.SnapshotRecord) error {
	b, err := rec.Encode()
	if err != nil {
		return err
	}
	name := snapshotRecordName(rec.Dataset, rec.Object.Version)
	digest := dataset.Digest(sha256.Sum256(b))
	if _, err = s.core.PutObject(ctx, s.settings.bucket, s.key(name), bytes.NewReader(b), int64(len(b)), "", digest.String(), objectOptions()); err != nil {
		return fmt.Errorf("repair snapshot record %s: %w", rec.ID(), s.failed("put snapshot record", name, err))
	}
	return nil
}

// NewestSnapshot costs one list request for each page (1000) of snapshot records after the version given, and a read.
func (s *s3) NewestSnapshot(ctx context.Context, name string, after, upTo uint64) (dataset.SnapshotRecord, error) {
	if err := dataset.CheckName(name); err != nil {
		return dataset.SnapshotRecord{}, err
	}
	newest := uint64(0)
	for from := after; from < upTo; {
		found, err := s.listFrom(ctx, snapshotsName(name), from+1, s.pageKeys)
		if err != nil {
			return dataset.SnapshotRecord{}, err
		}
		for _, f := range found {
			if f.version <= upTo {
				newest = f.version
			}
		}
		if len(found) < s.pageKeys {
			break
		}
		from = found[len(found)-1].version
	}
	if newest == 0 {
		return dataset.SnapshotRecord{}, noSnapshot(name, after, upTo, s)
	}
	file := snapshotRecordName(name, newest)
	b, _, err := s.readRecord(ctx, file)
	if errors.Is(err, ErrNotFound) {
		return dataset.SnapshotRecord{}, noSnapshot(name, after, upTo, s) // removed since it was listed
	}
	if err != nil {
		return dataset.SnapshotRecord{}, err
	}
	return decodeSnapshotRecord(b, name, newest, s.full(file))
}
