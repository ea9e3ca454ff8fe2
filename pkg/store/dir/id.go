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

// ID implements [store.Store].
func (s *Store) ID(context.Context) (dataset.StoreID, error) {
	b, err := s.readRecord(layout.IDFile)
	if errors.Is(err, store.ErrNotFound) {
		return dataset.StoreID{}, records.NoID(s)
	}
	if why, ok := errors.AsType[notRecord](err); ok {
		return dataset.StoreID{}, records.DamagedID(s.full(layout.IDFile), why)
	}
	if err != nil {
		return dataset.StoreID{}, err
	}
	return records.DecodeID(b, s.full(layout.IDFile))
}

// IDPlace returns the path of the file with the store id.
func (s *Store) IDPlace() string { return s.full(layout.IDFile) }

// RecordPlace returns the path of a version record.
func (s *Store) RecordPlace(name string, version uint64) string {
	return s.full(layout.Version(name, version))
}

// SnapshotPlace returns the path of a snapshot record.
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
	err = s.putRecord("id", layout.IDFile, b, s.root.Link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return dataset.StoreID{}, fmt.Errorf("put the store id: %w", err)
	}
	return s.ID(ctx)
}
