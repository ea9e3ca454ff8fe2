package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store/internal/verify"
)

// VerifyObject reads an object to its end and returns nil if its bytes have the size and the digest. It fails with [ErrDamaged] if they
// do not, and with [ErrNotFound] if there is no object; both errors name its place. Any other error proves nothing about the object.
// The cost is proportional to the size: 0.7 s for each gigabyte from memory.
func VerifyObject(ctx context.Context, st Store, digest dataset.Digest, bytes int64) error {
	body, err := st.OpenObject(ctx, digest, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	content, err := verify.NewReader(ctx, digest, bytes, body)
	if err != nil {
		return err
	}
	// The buffer of io.Discard has 8 KiB only.
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, content, make([]byte, 256<<10))
	if errors.Is(err, ErrMismatch) {
		return fmt.Errorf("object %s: %w at %s: %w", digest, ErrDamaged, st.ObjectPlace(digest), err)
	}
	return err
}
