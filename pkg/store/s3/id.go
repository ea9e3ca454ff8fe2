package s3

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/records"
)

// ID implements [store.Store]. It costs one read.
func (s *Store) ID(ctx context.Context) (dataset.StoreID, error) {
	b, _, err := s.readRecord(ctx, layout.IDFile)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.StoreID{}, records.NoID(s)
	}
	if err != nil {
		return dataset.StoreID{}, err
	}
	return records.DecodeID(b, s.full(layout.IDFile))
}

// IDPlace returns the URL of the store id.
func (s *Store) IDPlace() string { return s.full(layout.IDFile) }

// RecordPlace returns the URL of a version record.
func (s *Store) RecordPlace(name string, version uint64) string {
	return s.full(layout.Version(name, version))
}

// SnapshotPlace returns the URL of a snapshot record.
func (s *Store) SnapshotPlace(name string, version uint64) string {
	return s.full(layout.Snapshot(name, version))
}

// EnsureID implements [store.Store].
func (s *Store) EnsureID(ctx context.Context) (dataset.StoreID, error) {
	id, err := s.ID(ctx)
	if !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	if id, err = records.ChooseID(ctx, s); err != nil {
		return dataset.StoreID{}, err
	}
	b, err := records.EncodeID(id)
	if err != nil {
		return dataset.StoreID{}, err
	}
	if err := s.prepare(ctx); err != nil {
		return dataset.StoreID{}, err
	}
	if _, err := s.commit(ctx, layout.IDFile, b); err != nil && !errors.Is(err, store.ErrExists) {
		return dataset.StoreID{}, fmt.Errorf("put the store id: %w", err)
	}
	return s.ID(ctx)
}
