package s3

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/store"
)

// Bucket reads the objects of a bucket that are no part of a store. It is safe for concurrent use.
type Bucket struct {
	store *Store
	name  string // of an object, or a prefix
}

// Object is an object in a bucket.
type Object struct {
	// Key is the object's whole key.
	Key string
	// Bytes is its size.
	Bytes int64
}

// OpenBucket opens the bucket of a URL such as s3://bucket/key?endpoint=URL, whose query and credentials are those of a store: see the
// documentation of the package. It sends no request. The caller closes the Bucket.
func OpenBucket(rawURL string) (*Bucket, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error quotes parts of the URL, which may contain a password.
		return nil, fmt.Errorf("%w: it cannot be parsed; want s3://bucket/key, with %%25 for a %%", store.ErrURL)
	}
	s, err := connect(u, nil)
	if err != nil {
		return nil, err
	}
	return &Bucket{store: s, name: strings.TrimPrefix(u.Path, "/")}, nil
}

// Name returns the key in the URL. If it is empty or ends with a slash, it is the prefix of several keys.
func (b *Bucket) Name() string { return b.name }

// Bucket returns the name of the bucket.
func (b *Bucket) Bucket() string { return b.store.settings.bucket }

// Close closes idle connections.
func (b *Bucket) Close() { b.store.closeIdle() }

// List yields the objects whose keys begin with the prefix, in the order of their keys.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the listing
		for o := range b.store.core.ListObjectsIter(ctx, b.Bucket(), minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
			err := o.Err
			if err != nil {
				err = b.failed("list", prefix, err)
			}
			if !yield(Object{o.Key, o.Size}, err) || err != nil {
				return
			}
		}
	}
}

// Stat returns the object with the key. The error is [fs.ErrNotExist] if there is none.
func (b *Bucket) Stat(ctx context.Context, key string) (Object, error) {
	info, err := b.store.core.StatObject(ctx, b.Bucket(), key, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, b.failed("look for", key, err)
	}
	return Object{info.Key, info.Size}, nil
}

// Open returns the bytes of the object with the key. The error is [fs.ErrNotExist] if there is none. The caller closes the reader.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, _, _, err := b.store.core.GetObject(ctx, b.Bucket(), key, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed("read", key, err)
	}
	return body, nil
}

func (b *Bucket) failed(doing, key string, err error) error {
	if isCode(err, minio.NoSuchKey) {
		return fmt.Errorf("%s s3://%s/%s: %w", doing, b.Bucket(), key, fs.ErrNotExist)
	}
	return b.store.failed(doing, strings.TrimPrefix(key, b.store.settings.prefix), err)
}
