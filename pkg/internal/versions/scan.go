package versions

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

const (
	// aheadBytes is how much of a snapshot a scan reads with one request: some blocks.
	aheadBytes = 1 << 20
	// deltaAheadBytes is the same of a delta, and allDeltasAheadBytes bounds it for all of them together: a chain may have many. With very
	// many a scan reads them block by block.
	deltaAheadBytes     = 128 << 10
	allDeltasAheadBytes = 8 << 20
)

// Scan yields the records of the version of rec, which c leads to, in the order of (hash, key), from the one that follows the key
// after on; an empty after is the beginning. It reads blocks as it needs them, and keeps one of each object in memory, so it starts
// anywhere at the same cost, needs no temporary files, and holds no connection to the store while the caller is slow. It verifies every
// block, and not the state checksum: the caller, who may start in the middle, does. A record is valid until the next iteration.
func (b *Blocks) Scan(ctx context.Context, rec dataset.VersionRecord, c Chain, after []byte) iter.Seq2[dataset.Record, error] {
	from := newPosition(uint64(rec.Seed), after)
	return func(yield func(dataset.Record, error) bool) {
		files, err := b.Open(ctx, uint64(rec.Seed), c.Objects())
		if err != nil {
			yield(dataset.Record{}, err)
			return
		}
		deltas := make([]iter.Seq2[dataset.Record, error], len(files)-1)
		for i, f := range files[1:] {
			deltas[i] = b.entries(ctx, f, b.deltaAhead(ctx, f, len(deltas)), from)
		}
		base := b.entries(ctx, files[0], b.ahead(ctx, files[0], aheadBytes), from)
		for r, err := range snapshot.Merge(uint64(rec.Seed), base, deltas...) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// Deltas yields the entries of deltas of a dataset with the given seed, which follow one another from a version of state base to one of
// state to, as one delta: see [snapshot.MergeDeltas]. It starts after the key after, as Scan does.
func (b *Blocks) Deltas(ctx context.Context, seed uint64, deltas []dataset.Object, base, to dataset.Checksum, after []byte) iter.Seq2[dataset.Record, error] {
	from := newPosition(seed, after)
	return func(yield func(dataset.Record, error) bool) {
		files, err := b.Open(ctx, seed, deltas)
		if err != nil {
			yield(dataset.Record{}, err)
			return
		}
		entries := make([]iter.Seq2[dataset.Record, error], len(files))
		state := base
		for i, f := range files {
			if f.index.Totals.Base != state {
				yield(dataset.Record{}, b.failed(f, fmt.Errorf("%w: it applies to a version of state %v, not %v", snapshot.ErrCorrupt, f.index.Totals.Base, state)))
				return
			}
			state = f.index.Totals.State
			entries[i] = b.entries(ctx, f, b.deltaAhead(ctx, f, len(files)), from)
		}
		if last := files[len(files)-1]; state != to {
			yield(dataset.Record{}, b.failed(last, fmt.Errorf("%w: it leads to a version of state %v, not %v", snapshot.ErrCorrupt, state, to)))
			return
		}
		for r, err := range snapshot.MergeDeltas(seed, entries...) {
			if !yield(r, err) {
				return
			}
		}
	}
}

// position is a place in the order of a dataset's records: after the record with the key, or the beginning if the key is empty.
type position struct {
	hash uint64
	key  []byte
}

func newPosition(seed uint64, after []byte) position {
	if len(after) == 0 {
		return position{}
	}
	return position{dataset.Hash(seed, after), slices.Clone(after)}
}

// passed reports whether the record with the hash and key stands before the position or at it.
func (p position) passed(hash uint64, key []byte) bool {
	return len(p.key) > 0 && compareKeys(hash, key, p.hash, p.key) <= 0
}

// entries yields the entries of f after a position. It reads the blocks from src and does not cache them.
func (b *Blocks) entries(ctx context.Context, f *File, src io.ReaderAt, from position) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		var raw []byte
		for i := f.index.From(from.hash); i < f.index.Blocks(); i++ {
			if ctx.Err() != nil {
				yield(dataset.Record{}, context.Cause(ctx))
				return
			}
			s, err := f.index.Read(src, i)
			if err == nil {
				raw, err = s.Decode(raw)
			}
			if err != nil {
				yield(dataset.Record{}, b.failed(f, err))
				return
			}
			w := s.Walk(raw)
			for w.Next() {
				if from.passed(w.Hash(), w.Key()) {
					continue
				}
				if !yield(w.Record(), nil) {
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

// ahead returns a reader of f in pieces of some bytes.
func (b *Blocks) ahead(ctx context.Context, f *File, piece int64) io.ReaderAt {
	src := b.at(ctx, f)
	if f.whole != nil {
		return src
	}
	return &ahead{src: src, size: f.object.Bytes, most: piece}
}

// deltaAhead returns a reader of f, which is one of n deltas that are read at a time.
func (b *Blocks) deltaAhead(ctx context.Context, f *File, n int) io.ReaderAt {
	return b.ahead(ctx, f, min(deltaAheadBytes, allDeltasAheadBytes/int64(n)))
}

// ahead reads an object in pieces of most bytes, so that blocks that follow one another share a request to the store. It reads a larger
// block alone.
type ahead struct {
	src  io.ReaderAt
	size int64
	most int64

	piece []byte
	off   int64 // of piece
}

// ReadAt implements [io.ReaderAt]. Unlike others it is for one goroutine.
func (a *ahead) ReadAt(b []byte, off int64) (int, error) {
	if off < a.off || off+int64(len(b)) > a.off+int64(len(a.piece)) {
		n := int(min(max(int64(len(b)), a.most), a.size-off))
		if n < len(b) {
			return a.src.ReadAt(b, off)
		}
		a.piece = slices.Grow(a.piece[:0], n)[:n]
		a.off = off
		if n, err := a.src.ReadAt(a.piece, off); err != nil {
			a.piece = a.piece[:0]
			return min(n, len(b)), err
		}
	}
	return copy(b, a.piece[off-a.off:]), nil
}
