package store

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
)

// ID costs one read.
func (s *s3) ID(ctx context.Context) (dataset.StoreID, error) {
	b, _, err := s.readRecord(ctx, idFile)
	if errors.Is(err, ErrNotFound) {
		return dataset.StoreID{}, fmt.Errorf("the store id: %w %s", ErrNotFound, s)
	}
	if err != nil {
		return dataset.StoreID{}, err
	}
	return decodeIdentity(b, s.full(idFile))
}

func (s *s3) IDPlace() string { return s.full(idFile) }

func (s *s3) RecordPlace(name string, version uint64) string {
	return s.full(recordName(name, version))
}

func (s *s3) SnapshotPlace(name string, version uint64) string {
	return s.full(snapshotRecordName(name, version))
}

func (s *s3) EnsureID(ctx context.Context) (dataset.StoreID, error) {
	id, err := s.ID(ctx)
	if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	if id, err = drawID(ctx, s); err != nil {
		return dataset.StoreID{}, err
	}
	b, err := encodeIdentity(id)
	if err != nil {
		return dataset.StoreID{}, err
	}
	if err := s.prepare(ctx); err != nil {
		return dataset.StoreID{}, err
	}
	if _, err := s.commit(ctx, idFile, b); err != nil && !errors.Is(err, ErrExists) {
		return dataset.StoreID{}, fmt.Errorf("put the store id: %w", err)
	}
	return s.ID(ctx)
}
