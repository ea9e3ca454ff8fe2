package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"freshet.dev/pkg/dataset"
)

// verifier yields what its source yields, and io.EOF only if that was exactly what was promised: a backend that
// makes an object of it only after io.EOF never makes one of anything else.
type verifier struct {
	ctx    context.Context
	src    io.Reader
	digest dataset.Digest
	want   int64
	got    int64
	sum    hash.Hash
}

// verify checks what can be checked before a byte is read.
func verify(ctx context.Context, digest dataset.Digest, bytes int64, src io.Reader) (*verifier, error) {
	if digest.IsZero() || bytes < 0 {
		return nil, fmt.Errorf("put object %s: %w: a digest and a size of 0 or more are needed, not %d bytes", digest, ErrMismatch, bytes)
	}
	return &verifier{ctx: ctx, src: src, digest: digest, want: bytes, sum: sha256.New()}, nil
}

// Read implements [io.Reader]. A source that blocks is not interrupted when the context ends, but not read again.
func (v *verifier) Read(p []byte) (int, error) {
	if err := context.Cause(v.ctx); err != nil {
		return 0, err
	}
	n, err := v.src.Read(p)
	v.sum.Write(p[:n])
	v.got += int64(n)
	switch {
	case v.got > v.want:
		return 0, fmt.Errorf("%w: it has more than the %d bytes of object %s", ErrMismatch, v.want, v.digest)
	case err == io.EOF:
		return n, v.end()
	case err != nil:
		return n, fmt.Errorf("read the content: %w", err)
	}
	return n, nil
}

func (v *verifier) end() error {
	if v.got < v.want {
		return fmt.Errorf("%w: it ends after %d of the %d bytes of object %s", ErrMismatch, v.got, v.want, v.digest)
	}
	if got := dataset.Digest(v.sum.Sum(nil)); got != v.digest {
		return fmt.Errorf("%w: its digest is %s, not %s", ErrMismatch, got, v.digest)
	}
	return io.EOF
}
