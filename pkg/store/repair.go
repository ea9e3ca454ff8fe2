package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
)

// VerifyObject reads an object to its end and returns nil if its bytes have the size and the digest. It returns an error
// that wraps [ErrDamaged] if they do not, [ErrNotFound] if there is no object; both name its place. Any other error says
// nothing about the object. It costs as much as the object is large: 0.7 s for each gigabyte from memory.
func VerifyObject(ctx context.Context, st Store, digest dataset.Digest, bytes int64) error {
	body, err := st.OpenObject(ctx, digest, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	content, err := verify(ctx, digest, bytes, body)
	if err != nil {
		return err
	}
	// io.Discard itself reads in parts of 8 KiB.
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, content, make([]byte, 256<<10))
	if errors.Is(err, ErrMismatch) {
		return fmt.Errorf("object %s: %w at %s: %w", digest, ErrDamaged, st.Place(digest), err)
	}
	return err
}

// repair is RepairObject, where replace makes an object of the content, whatever there was before.
func repair(ctx context.Context, st Store, digest dataset.Digest, bytes int64, r io.Reader, replace func(*verifier) error) (bool, error) {
	content, err := verify(ctx, digest, bytes, r)
	if err != nil {
		return false, err
	}
	switch err := VerifyObject(ctx, st, digest, bytes); {
	case err == nil:
		return false, nil
	case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound):
		return false, err
	}
	if err := replace(content); err != nil {
		return false, err
	}
	return true, nil
}
