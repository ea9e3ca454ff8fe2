package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// cachedFiles is how many objects a Publisher remembers the index of: the chains of some datasets. An index has 32
	// bytes for each block, 150 KB for a dataset of 1 GB.
	cachedFiles = 512
	// wholeBytes is the size of an object that is read and remembered whole. It takes as many requests to read its
	// footer, and it is a small delta, which each patch after it looks into.
	wholeBytes = 32 << 10
)

// file is an object that single blocks can be read from.
type file struct {
	object dataset.Object
	index  *snapshot.Index
	whole  []byte // nil for an object over wholeBytes
}

// files remembers the indexes of objects, which never change.
type files struct {
	store store.Store
	cache *lru.Cache[dataset.Digest, *file]
}

func newFiles(st store.Store) *files {
	cache, err := lru.New[dataset.Digest, *file](cachedFiles)
	if err != nil {
		panic(err) // the size is not positive: a mistake in the constant above
	}
	return &files{store: st, cache: cache}
}

// open returns the file of an object that belongs to a dataset with the given seed.
func (fs *files) open(ctx context.Context, o dataset.Object, seed uint64) (*file, error) {
	if f, ok := fs.cache.Get(o.Digest); ok {
		return f, nil
	}
	f := &file{object: o}
	if o.Bytes <= wholeBytes {
		whole, err := fs.read(ctx, o, 0, o.Bytes)
		if err != nil {
			return nil, err
		}
		if sha256.Sum256(whole) != o.Digest {
			return nil, fmt.Errorf("read object %s: %w: its digest is another", o.Digest, snapshot.ErrCorrupt)
		}
		f.whole = whole
	}
	var err error
	if f.index, err = snapshot.ReadIndex(fs.at(ctx, f), o.Bytes); err != nil {
		return nil, fmt.Errorf("read the index of object %s: %w", o.Digest, err)
	}
	if f.index.Header.Seed != seed {
		return nil, fmt.Errorf("read the index of object %s: %w: it is in the order of seed %016x, the dataset's is %016x",
			o.Digest, snapshot.ErrCorrupt, f.index.Header.Seed, seed)
	}
	fs.cache.Add(o.Digest, f)
	return f, nil
}

// block returns a block of f, verified.
func (fs *files) block(ctx context.Context, f *file, block int) (snapshot.Stored, error) {
	s, err := f.index.Read(fs.at(ctx, f), block)
	if err != nil {
		return snapshot.Stored{}, fmt.Errorf("read object %s: %w", f.object.Digest, err)
	}
	return s, nil
}

func (fs *files) at(ctx context.Context, f *file) io.ReaderAt {
	if f.whole != nil {
		return bytes.NewReader(f.whole)
	}
	return ranged{ctx: ctx, files: fs, object: f.object}
}

func (fs *files) read(ctx context.Context, o dataset.Object, offset, length int64) ([]byte, error) {
	b := make([]byte, length)
	_, err := ranged{ctx: ctx, files: fs, object: o}.ReadAt(b, offset)
	return b, err
}

// ranged reads parts of an object from the store, each with a request. It holds a context because io.ReaderAt has no
// place for one; it lives for one call.
type ranged struct {
	ctx    context.Context
	files  *files
	object dataset.Object
}

func (r ranged) ReadAt(b []byte, offset int64) (int, error) {
	body, err := r.files.store.OpenObject(r.ctx, r.object.Digest, offset, int64(len(b)))
	if err != nil {
		if errors.Is(err, store.ErrRange) {
			err = fmt.Errorf("%w: %w", snapshot.ErrTruncated, err)
		}
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, b)
}
