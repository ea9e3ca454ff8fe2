package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"freshet.dev/pkg/dataset"
)

func (d *dir) ID(context.Context) (dataset.StoreID, error) {
	b, err := d.readSmall(idFile)
	if errors.Is(err, ErrNotFound) {
		return dataset.StoreID{}, fmt.Errorf("the store id: %w %s", ErrNotFound, d)
	}
	if odd, ok := errors.AsType[oddFile](err); ok {
		return dataset.StoreID{}, damagedIdentity(d.full(idFile), odd)
	}
	if err != nil {
		return dataset.StoreID{}, err
	}
	return decodeIdentity(b, d.full(idFile))
}

func (d *dir) IDPlace() string { return d.full(idFile) }

func (d *dir) RecordPlace(name string, version uint64) string {
	return d.full(recordName(name, version))
}

func (d *dir) SnapshotPlace(name string, version uint64) string {
	return d.full(snapshotRecordName(name, version))
}

func (d *dir) EnsureID(ctx context.Context) (dataset.StoreID, error) {
	id, err := d.ID(ctx)
	if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	if id, err = drawID(ctx, d); err != nil {
		return dataset.StoreID{}, err
	}
	b, err := encodeIdentity(id)
	if err != nil {
		return dataset.StoreID{}, err
	}
	err = d.putSmall("id", idFile, b, d.root.Link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return dataset.StoreID{}, fmt.Errorf("put the store id: %w", err)
	}
	return d.ID(ctx)
}
