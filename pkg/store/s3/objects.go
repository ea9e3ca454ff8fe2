package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/store"
	"freshet.dev/pkg/store/internal/layout"
	"freshet.dev/pkg/store/internal/objects"
	"freshet.dev/pkg/store/internal/verify"
)

// PutObject implements [store.Store].
func (s *Store) PutObject(ctx context.Context, digest dataset.Digest, size int64, r io.Reader) error {
	content, err := verify.NewReader(ctx, digest, size, r)
	if err != nil {
		return err
	}
	switch existing, err := s.StatObject(ctx, digest); {
	case err == nil && existing == size:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	return s.replaceObject(ctx, content)
}

// replaceObject atomically writes the object, whether it exists or not.
func (s *Store) replaceObject(ctx context.Context, content *verify.Reader) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if content.Bytes() <= s.partBytes {
		return s.putWhole(ctx, content)
	}
	return s.putParts(ctx, content)
}

// RepairObject implements [store.Store].
func (s *Store) RepairObject(ctx context.Context, digest dataset.Digest, size int64, r io.Reader) (bool, error) {
	return objects.Repair(ctx, s, digest, size, r, func(content *verify.Reader) error { return s.replaceObject(ctx, content) })
}

// ObjectPlace returns the URL of the object.
func (s *Store) ObjectPlace(digest dataset.Digest) string { return s.full(layout.Object(digest)) }

// StatObject implements [store.Store].
func (s *Store) StatObject(ctx context.Context, digest dataset.Digest) (int64, error) {
	name := layout.Object(digest)
	info, err := s.core.StatObject(ctx, s.settings.bucket, s.key(name), minio.StatObjectOptions{})
	switch {
	case isCode(err, minio.NoSuchKey):
		return 0, s.noObject(digest)
	case err != nil:
		return 0, s.failed("look for object", name, err)
	}
	return info.Size, nil
}

func (s *Store) noObject(digest dataset.Digest) error {
	return fmt.Errorf("object %s: %w at %s", digest, store.ErrNotFound, s.full(layout.Object(digest)))
}

// OpenObject implements [store.Store].
func (s *Store) OpenObject(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	name := layout.Object(digest)
	if offset < 0 || length == 0 || length > math.MaxInt64-offset {
		return s.openEmpty(ctx, digest, offset, length) // no request can express this range
	}
	var opts minio.GetObjectOptions
	var err error
	switch {
	case length > 0:
		err = opts.SetRange(offset, offset+length-1)
	case offset > 0:
		err = opts.SetRange(offset, 0) // to the end
	}
	if err != nil {
		return nil, s.failed("open object", name, err)
	}
	body, info, header, err := s.core.GetObject(ctx, s.settings.bucket, s.key(name), opts)
	switch {
	case isCode(err, minio.NoSuchKey):
		return nil, s.noObject(digest)
	case isCode(err, minio.InvalidRange):
		return s.openEmpty(ctx, digest, offset, length)
	case err != nil:
		return nil, s.failed("open object", name, err)
	}
	first, size := int64(0), info.Size
	if ranged := offset > 0 || length > 0; ranged {
		var last int64
		if _, err := fmt.Sscanf(header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size); err != nil || first != offset {
			_ = body.Close() // the response is of no use
			return nil, fmt.Errorf("open object %s: %w: the S3 server at %s does not honour Range (Content-Range is %q)",
				s.full(name), store.ErrUnusable, s.settings.endpoint, header.Get("Content-Range"))
		}
	}
	want, err := objects.CheckRange(digest, size, offset, length)
	if err != nil {
		_ = body.Close() // the response is of no use
		return nil, err
	}
	return &objectBody{body: body, rest: want, place: s.full(name)}, nil
}

// openEmpty opens a range without bytes, and fails with [store.ErrRange] for a range that is not within the object.
func (s *Store) openEmpty(ctx context.Context, digest dataset.Digest, offset, length int64) (io.ReadCloser, error) {
	size, err := s.StatObject(ctx, digest)
	if err != nil {
		return nil, err
	}
	n, err := objects.CheckRange(digest, size, offset, length)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, fmt.Errorf("open object %s: %w: the S3 server at %s refuses %d bytes from %d on, though it has %d",
			s.full(layout.Object(digest)), store.ErrUnusable, s.settings.endpoint, n, offset, size)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// objectBody yields exactly rest bytes of a response's body, or an error.
type objectBody struct {
	body  io.ReadCloser
	rest  int64
	place string
}

func (b *objectBody) Read(p []byte) (int, error) {
	if b.rest == 0 {
		return 0, io.EOF
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.rest)])
	b.rest -= int64(n)
	switch {
	case b.rest == 0:
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = fmt.Errorf("read %s, %d bytes before the end: %w", b.place, b.rest, err)
	}
	return n, err
}

func (b *objectBody) Close() error { return b.body.Close() }
