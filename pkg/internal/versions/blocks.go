package versions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
	"freshet.dev/pkg/store"
)

const (
	// wholeBytes is the size up to which an object is read and cached whole: reading its footer alone takes as many requests.
	// Such an object is a small delta, which each later patch reads.
	wholeBytes = 32 << 10
	// wholeEntryBytes is wholeBytes for Entry, which reads one block of an object: larger ones of several blocks would cost more bytes.
	wholeEntryBytes = 8 << 10
	// maxBufferBytes is the largest buffer that is reused for the next block: enough for records of usual size.
	maxBufferBytes = 1 << 20
)

// File is an object that single blocks can be read from.
type File struct {
	object dataset.Object
	index  *snapshot.Index
	whole  []byte // nil for an object that is too large to be read whole
}

func (f *File) cachedBytes() int64 { return int64(f.index.Blocks())*32 + int64(len(f.whole)) + 256 }

// GroupBytes returns the raw bytes of the blocks that the entries of the group are in.
func (f *File) GroupBytes(group uint32) int64 {
	_, _, raw := f.index.Group(group)
	return raw
}

// Blocks reads blocks of objects, and caches them.
type Blocks struct {
	store   store.Store
	cache   *cache
	objects *Objects // records the objects that cannot be read
	// buffers has one buffer for each block that may be decoded at a time.
	buffers chan []byte
}

func newBlocks(st store.Store, decoders int, objects *Objects) *Blocks {
	b := &Blocks{store: st, cache: newCache(cacheBytes), objects: objects, buffers: make(chan []byte, decoders)}
	for range decoders {
		b.buffers <- nil
	}
	return b
}

// open returns the file of an object that belongs to a dataset with the given seed.
func (b *Blocks) open(ctx context.Context, o dataset.Object, seed uint64) (*File, error) {
	return b.openPart(ctx, o, seed, part{o.Digest, indexPart}, wholeBytes)
}

// openPart returns the file of an object from its place in the cache, or reads its index. It reads an object of up to whole bytes whole.
func (b *Blocks) openPart(ctx context.Context, o dataset.Object, seed uint64, at part, whole int64) (*File, error) {
	known, ok := b.cache.get(at)
	f := known.file
	if !ok {
		var err error
		if f, err = b.load(ctx, o, whole); err != nil {
			return nil, b.objects.Failed(o, err)
		}
		b.cache.add(at, cached{file: f, bytes: f.cachedBytes()})
	}
	if f.index.Header.Seed != seed {
		return nil, b.objects.Failed(o, fmt.Errorf("read the index of object %s: %w: it is in the order of seed %016x, the dataset's is %016x",
			o.Digest, snapshot.ErrCorrupt, f.index.Header.Seed, seed))
	}
	return f, nil
}

// Open returns the files of objects that belong to a dataset with the given seed.
func (b *Blocks) Open(ctx context.Context, seed uint64, objects []dataset.Object) ([]*File, error) {
	opened := make([]*File, len(objects))
	readers := newReaders(ctx)
	for i, o := range objects {
		readers.Go(func(ctx context.Context) (err error) {
			opened[i], err = b.open(ctx, o, seed)
			return err
		})
	}
	return opened, readers.Wait()
}

func (b *Blocks) load(ctx context.Context, o dataset.Object, most int64) (*File, error) {
	f := &File{object: o}
	if o.Bytes <= most {
		whole := make([]byte, o.Bytes)
		if _, err := (ranged{ctx: ctx, store: b.store, object: o}).ReadAt(whole, 0); err != nil {
			return nil, fmt.Errorf("read object %s: %w", o.Digest, err)
		}
		if sha256.Sum256(whole) != o.Digest {
			return nil, fmt.Errorf("read object %s: %w: it has another digest", o.Digest, snapshot.ErrCorrupt)
		}
		f.whole = whole
	}
	var err error
	if f.index, err = snapshot.ReadIndex(b.at(ctx, f), o.Bytes); err != nil {
		return nil, fmt.Errorf("read the index of object %s: %w", o.Digest, err)
	}
	return f, nil
}

// block returns a block of f, verified.
func (b *Blocks) block(ctx context.Context, f *File, block int) (snapshot.Stored, error) {
	at := part{f.object.Digest, block}
	if f.whole == nil {
		if known, ok := b.cache.get(at); ok {
			return known.block, nil
		}
	}
	s, err := f.index.Read(b.at(ctx, f), block)
	if err != nil {
		return snapshot.Stored{}, b.failed(f, err)
	}
	if f.whole == nil {
		b.cache.add(at, cached{block: s, bytes: int64(cap(s.Bytes)) + 256})
	}
	return s, nil
}

func (b *Blocks) failed(f *File, err error) error {
	return b.objects.Failed(f.object, fmt.Errorf("read object %s: %w", f.object.Digest, err))
}

// decode decompresses a block and passes its entries to use, which must not keep them.
func (b *Blocks) decode(s snapshot.Stored, use func(raw []byte) error) error {
	buffer := <-b.buffers // waits for other decoders only, and they wait for nothing
	defer func() {
		if cap(buffer) > maxBufferBytes {
			buffer = nil
		}
		b.buffers <- buffer
	}()
	raw, err := s.Decode(buffer)
	if err != nil {
		return err
	}
	buffer = raw
	return use(raw)
}

// Group yields the entries of f that are in the group.
func (b *Blocks) Group(ctx context.Context, f *File, group uint32) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		first, end, _ := f.index.Group(group)
		for i := first; i < end; i++ {
			s, err := b.block(ctx, f, i)
			if err != nil {
				yield(dataset.Record{}, err)
				return
			}
			raw, err := s.Decode(nil)
			if err != nil {
				yield(dataset.Record{}, b.failed(f, err))
				return
			}
			w := s.Walk(raw)
			for w.Next() {
				if snapshot.Group(w.Hash()) == group && !yield(w.Record(), nil) {
					return
				}
			}
			if err := w.Err(); err != nil {
				yield(dataset.Record{}, b.failed(f, err))
				return
			}
		}
	}
}

func (b *Blocks) at(ctx context.Context, f *File) io.ReaderAt {
	if f.whole != nil {
		return bytes.NewReader(f.whole)
	}
	return ranged{ctx: ctx, store: b.store, object: f.object}
}

// ranged reads parts of an object from the store, each with a request. It holds a context because io.ReaderAt takes none; it
// lives for one call.
type ranged struct {
	ctx    context.Context
	store  store.Store
	object dataset.Object
}

func (r ranged) ReadAt(b []byte, offset int64) (int, error) {
	body, err := r.store.OpenObject(r.ctx, r.object.Digest, offset, int64(len(b)))
	if err != nil {
		if errors.Is(err, store.ErrRange) {
			err = fmt.Errorf("%w: %w", snapshot.ErrTruncated, err)
		}
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, b)
}
