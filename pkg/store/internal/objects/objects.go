// Package objects has the parts of reading and repairing an object that all stores share.
package objects

import (
	"context"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/verify"
)

// Repair implements [store.Store].RepairObject. It calls replace, which must write the object whether it exists or not.
func Repair(ctx context.Context, st store.Store, digest dataset.Digest, bytes int64, r io.Reader, replace func(*verify.Reader) error) (bool, error) {
	content, err := verify.NewReader(ctx, digest, bytes, r)
	if err != nil {
		return false, err
	}
	switch err := store.VerifyObject(ctx, st, digest, bytes); {
	case err == nil:
		return false, nil
	case !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNotFound):
		return false, err
	}
	if err := replace(content); err != nil {
		return false, err
	}
	return true, nil
}

// CheckRange returns the number of bytes that a read of length bytes from offset yields in an object of size bytes. A negative length
// means to the end. It fails with [store.ErrRange] if the object does not have these bytes.
func CheckRange(d dataset.Digest, size, offset, length int64) (int64, error) {
	switch {
	case offset < 0 || offset > size || length > size-offset:
		if length < 0 {
			return 0, fmt.Errorf("%w: object %s has %d bytes, asked for those from %d on", store.ErrRange, d, size, offset)
		}
		return 0, fmt.Errorf("%w: object %s has %d bytes, asked for %d from %d on", store.ErrRange, d, size, length, offset)
	case length < 0:
		return size - offset, nil
	}
	return length, nil
}
