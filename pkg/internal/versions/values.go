package versions

import (
	"context"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// heldBytes bounds the values that Values keeps from its first reads of the blocks.
const heldBytes = 4 << 20

const _ = uint(heldBytes - dataset.MaxValueBytes - 1)

// Values is Lookup with the values of the records: it calls use for each query, in order, with the number of the query and the value,
// which is not nil if there is a record. The value is valid during the call. Memory does not follow the number of queries: Values keeps
// up to heldBytes of values, and reads blocks again for values beyond that, of which it keeps one decoded block of each object. An error
// of use ends it and is returned.
func (b *Blocks) Values(ctx context.Context, rec dataset.VersionRecord, c Chain, queries []Query, use func(i int, value []byte) error) error {
	for i := range queries {
		queries[i].Present = Present{}
	}
	if err := b.Fetch(ctx, rec, c, queries, heldBytes); err != nil {
		return err
	}
	again := &rereader{blocks: b, seed: uint64(rec.Seed), objects: c.Objects(), finders: map[int]*finder{}}
	for i := range queries {
		q := &queries[i]
		value := q.Held
		if q.Exists && value == nil {
			if value = q.Value; !q.Equal {
				var err error
				if value, err = again.value(ctx, q); err != nil {
					return err
				}
			}
			if value == nil {
				value = []byte{}
			}
		}
		if err := use(i, value); err != nil {
			return err
		}
	}
	return nil
}

// rereader reads values that Fetch has found and not copied, for queries in order.
type rereader struct {
	blocks  *Blocks
	seed    uint64
	objects []dataset.Object
	finders map[int]*finder // by the number of the file in the chain
}

// value returns the value for q. It is valid until the next call.
func (r *rereader) value(ctx context.Context, q *Query) ([]byte, error) {
	f := r.finders[q.file]
	if f == nil {
		file, err := r.blocks.open(ctx, r.objects[q.file-1], r.seed)
		if err != nil {
			return nil, err
		}
		f = &finder{blocks: r.blocks, file: file, block: -1}
		r.finders[q.file] = f
	}
	found, _, err := f.find(ctx, q.Hash, q.Key)
	return found.Value, err
}

// Entry returns the entry that an object of a dataset with the given seed has for the key; ok is false if it has none. It reads the
// object's index and at most the one block that can hold the key, or all of a small object.
func (b *Blocks) Entry(ctx context.Context, o dataset.Object, seed uint64, key []byte) (r dataset.Record, ok bool, err error) {
	f, err := b.openPart(ctx, o, seed, part{o.Digest, entryPart}, wholeEntryBytes)
	if err != nil {
		return dataset.Record{}, false, err
	}
	return (&finder{blocks: b, file: f, block: -1}).find(ctx, dataset.Hash(seed, key), key)
}

// finder finds entries of a file for keys in ascending order. It decodes a block once for all of its keys.
type finder struct {
	blocks *Blocks
	file   *File
	block  int // the decoded one; -1 before the first
	walker snapshot.Walker
	raw    []byte
	at     bool // walker is at an entry that may be the next result
}

// find returns the entry with the key; ok is false if there is none. The entry is valid until the next call.
func (f *finder) find(ctx context.Context, hash uint64, key []byte) (r dataset.Record, ok bool, err error) {
	block, ok := f.file.index.Block(hash)
	if !ok {
		return dataset.Record{}, false, nil
	}
	if block != f.block {
		s, err := f.blocks.block(ctx, f.file, block)
		if err != nil {
			return dataset.Record{}, false, err
		}
		if f.raw, err = s.Decode(f.raw); err != nil {
			f.block = -1
			return dataset.Record{}, false, f.blocks.failed(f.file, err)
		}
		f.block, f.walker, f.at = block, s.Walk(f.raw), false
	}
	for {
		if !f.at && !f.walker.Next() {
			if err := f.walker.Err(); err != nil {
				return dataset.Record{}, false, f.blocks.failed(f.file, err)
			}
			return dataset.Record{}, false, nil
		}
		f.at = true
		switch order := compareKeys(f.walker.Hash(), f.walker.Key(), hash, key); {
		case order == 0:
			return f.walker.Record(), true, nil
		case order > 0:
			return dataset.Record{}, false, nil
		}
		f.at = false
	}
}
