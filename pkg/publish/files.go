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
)

const (
	// wholeBytes is the size of an object that is read and remembered whole. It takes as many requests to read its
	// footer, and it is a small delta, which each patch after it looks into.
	wholeBytes = 32 << 10
	// keptRoom is the largest block whose memory is used for the next one: what records of usual size make.
	keptRoom = 1 << 20
)

// file is an object that single blocks can be read from.
type file struct {
	object dataset.Object
	index  *snapshot.Index
	whole  []byte // nil for an object over wholeBytes
}

func (f *file) bytes() int64 { return int64(f.index.Blocks())*32 + int64(len(f.whole)) + 256 }

// files reads blocks of objects.
type files struct {
	store  store.Store
	cache  *cache
	doubts *doubts // gets the objects that cannot be read
	// room holds memory to decode blocks in, as often as blocks may be decoded at a time.
	room chan []byte
}

func newFiles(st store.Store, decoders int, doubts *doubts) *files {
	fs := &files{store: st, cache: newCache(cacheBytes), doubts: doubts, room: make(chan []byte, decoders)}
	for range decoders {
		fs.room <- nil
	}
	return fs
}

// open returns the file of an object that belongs to a dataset with the given seed.
func (fs *files) open(ctx context.Context, o dataset.Object, seed uint64) (*file, error) {
	known, ok := fs.cache.get(part{o.Digest, indexPart})
	f := known.file
	if !ok {
		var err error
		if f, err = fs.load(ctx, o); err != nil {
			return nil, fs.doubts.failed(o, err)
		}
		fs.cache.add(part{o.Digest, indexPart}, cached{file: f, bytes: f.bytes()})
	}
	if f.index.Header.Seed != seed {
		return nil, fs.doubts.failed(o, fmt.Errorf("read the index of object %s: %w: it is in the order of seed %016x, the dataset's is %016x",
			o.Digest, snapshot.ErrCorrupt, f.index.Header.Seed, seed))
	}
	return f, nil
}

// all is open for several objects.
func (fs *files) all(ctx context.Context, seed uint64, objects []dataset.Object) ([]*file, error) {
	opened := make([]*file, len(objects))
	opening := lanes(ctx)
	for i, o := range objects {
		opening.Go(func(ctx context.Context) (err error) {
			opened[i], err = fs.open(ctx, o, seed)
			return err
		})
	}
	return opened, opening.Wait()
}

func (fs *files) load(ctx context.Context, o dataset.Object) (*file, error) {
	f := &file{object: o}
	if o.Bytes <= wholeBytes {
		whole, err := fs.read(ctx, o, 0, o.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read object %s: %w", o.Digest, err)
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
	return f, nil
}

// block returns a block of f, verified.
func (fs *files) block(ctx context.Context, f *file, block int) (snapshot.Stored, error) {
	at := part{f.object.Digest, block}
	if f.whole == nil {
		if known, ok := fs.cache.get(at); ok {
			return known.block, nil
		}
	}
	s, err := f.index.Read(fs.at(ctx, f), block)
	if err != nil {
		return snapshot.Stored{}, fs.doubts.failed(f.object, fmt.Errorf("read object %s: %w", f.object.Digest, err))
	}
	if f.whole == nil {
		fs.cache.add(at, cached{block: s, bytes: int64(cap(s.Bytes)) + 256})
	}
	return s, nil
}

// decode has use use the entries of a block, which are gone afterwards.
func (fs *files) decode(s snapshot.Stored, use func(raw []byte) error) error {
	room := <-fs.room // never waits for more than decoding and use, which wait for nothing
	defer func() {
		if cap(room) > keptRoom {
			room = nil
		}
		fs.room <- room
	}()
	raw, err := s.Decode(room)
	if err != nil {
		return err
	}
	room = raw
	return use(raw)
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
