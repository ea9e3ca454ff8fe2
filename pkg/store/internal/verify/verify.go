// Package verify reads content that must have a known size and digest.
package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"freshet.dev/pkg/dataset"
)

// ErrMismatch is freshet.dev/pkg/store.ErrMismatch, which cannot be used here because package store imports this one.
var ErrMismatch = errors.New("content does not match its digest and size")

// Reader yields the bytes of its source, and io.EOF only if they had the expected size and digest. So a store that creates an object
// only after io.EOF never creates one with other content.
type Reader struct {
	ctx    context.Context
	src    io.Reader
	digest dataset.Digest
	want   int64
	got    int64
	sum    hash.Hash
}

// NewReader returns a Reader of src. It fails if no content can have the digest and the size.
func NewReader(ctx context.Context, digest dataset.Digest, bytes int64, src io.Reader) (*Reader, error) {
	if digest.IsZero() || bytes < 0 {
		return nil, fmt.Errorf("put object %s: %w: a digest and a size of 0 or more are needed, not %d bytes", digest, ErrMismatch, bytes)
	}
	return &Reader{ctx: ctx, src: src, digest: digest, want: bytes, sum: sha256.New()}, nil
}

// Digest returns the expected digest.
func (r *Reader) Digest() dataset.Digest { return r.digest }

// Bytes returns the expected size.
func (r *Reader) Bytes() int64 { return r.want }

// SetContext replaces the context. It must not be called during a Read.
func (r *Reader) SetContext(ctx context.Context) { r.ctx = ctx }

// Read implements [io.Reader]. The end of the context stops further reads of the source, but does not interrupt one that blocks.
func (r *Reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	n, err := r.src.Read(p)
	r.sum.Write(p[:n])
	r.got += int64(n)
	switch {
	case r.got > r.want:
		return 0, fmt.Errorf("%w: it has more than the %d bytes of object %s", ErrMismatch, r.want, r.digest)
	case err == io.EOF:
		return n, r.end()
	case err != nil:
		return n, fmt.Errorf("read the content: %w", err)
	}
	return n, nil
}

// end returns io.EOF if the content is complete and has the digest.
func (r *Reader) end() error {
	if r.got < r.want {
		return fmt.Errorf("%w: it ends after %d of the %d bytes of object %s", ErrMismatch, r.got, r.want, r.digest)
	}
	if got := dataset.Digest(r.sum.Sum(nil)); got != r.digest {
		return fmt.Errorf("%w: its digest is %s, not %s", ErrMismatch, got, r.digest)
	}
	return io.EOF
}
